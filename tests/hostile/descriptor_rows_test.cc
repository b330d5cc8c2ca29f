// What is no VMDK, descriptors, the files they name, and parents.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "row.h"

namespace vmdk::test {
namespace {

constexpr std::uint64_t kExtent = 64 * kKiB;
constexpr std::uint64_t kSectors = kExtent / kSectorSize;

// ---- Files that are no VMDK

Row file(std::string name, std::string bytes, std::string cause) {
  return {.name = std::move(name),
          .make = [bytes = std::move(bytes)](MemoryFileSystem& files) { files.put(kImage, bytes); },
          .cause = std::move(cause)};
}

const std::vector<Row>& file_rows() {
  static const std::string filler(4096, '\0');
  static const std::vector<Row> rows = {
      file("B1_empty", "", "the file is empty"),
      file("B1_one_byte", "K", "neither a sparse header nor a descriptor"),
      file("B1_magic_alone", "KDMV", "the file ends inside its header"),
      file("B1_511_bytes", "KDMV" + std::string(507, '\0'), "the file ends inside its header"),
      file("B1_cowd_of_2047_bytes", "COWD" + std::string("\x01\0\0\0", 4) + std::string(2039, '\0'),
           "numSectors 0"),
      file("B2_raw", std::string(510, '\0') + "\x55\xAA", "it is a raw disk image"),
      file("B2_zeros", filler, "neither a sparse header nor a descriptor"),
      file("B2_qcow2", "QFI\xFB" + filler, "it is a QEMU qcow2 image"),
      file("B2_gzip", "\x1F\x8B" + filler, "it is a gzip file"),
      file("B2_vdi", std::string(64, ' ') + "\xBE\xDA\x10\x7F" + filler, "a VirtualBox VDI image"),
      file("B2_vhdx", "vhdxfile" + filler, "a Hyper-V VHDX image"),
      // The checksum of a tar header is not right by chance.
      file("B2_ustar_by_chance", std::string(257, 'x') + "ustar" + filler,
           "neither a sparse header nor a descriptor"),
  };
  return rows;
}

// ---- Descriptors

// As in a file: "# Disk DescriptorFile", a version, a content id, a kind, `more`.
std::string descriptor(const std::string& more, const std::string& type = "monolithicFlat") {
  return "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"" +
         type + "\"\n" + more;
}

std::string flat_line(const std::string& name = "f") {
  return fmt::format("RW {} FLAT \"{}\" 0\n", kSectors, name);
}

std::function<void(MemoryFileSystem&)> with_flat(std::string text) {
  return [text = std::move(text)](MemoryFileSystem& files) {
    files.put(kImage, text);
    files.put("/vm/f", std::string(kExtent, 'f'));
  };
}

Row text(std::string name, std::string text, std::string cause) {
  return {.name = std::move(name), .make = with_flat(std::move(text)), .cause = std::move(cause)};
}

Row line(std::string name, const std::string& line, std::string cause) {
  return text(std::move(name), descriptor(line + "\n"), "line 6: " + std::move(cause));
}

Row sound(std::string name, std::string text) {
  return {.name = std::move(name), .make = with_flat(std::move(text)), .answer = Answer::kOpened};
}

std::string many_lines() {
  std::string lines;
  for (int i = 0; i < 65537; ++i)
    lines += "RW 1 ZERO\n";
  return lines;
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size()))
    text.replace(at, what.size(), with);
  return text;
}

const std::vector<Row>& descriptor_rows() {
  static const std::vector<Row> rows = {
      text("B23_no_version", "# Disk DescriptorFile\nCID=1\ncreateType=\"x\"\n" + flat_line(),
           "no version line"),
      text("B23_no_cid", "# Disk DescriptorFile\nversion=1\ncreateType=\"x\"\n" + flat_line(),
           "no CID line"),
      text("B23_no_create_type", "# Disk DescriptorFile\nversion=1\nCID=1\n" + flat_line(),
           "no createType line"),
      text("B23_no_extent", descriptor(""), "no extent line"),
      text("B23_two_create_types", descriptor("createType=\"vmfs\"\n" + flat_line()),
           "line 6: createType \"vmfs\" contradicts"),
      text("version_4", replaced(descriptor(flat_line()), "version=1", "version=4"),
           "descriptor version 4: 1 to 3 are known"),
      text("cid_not_hexadecimal", replaced(descriptor(flat_line()), "12345678", "xyz"),
           "CID \"xyz\" is not 1 to 8 hexadecimal digits"),
      text("B24_unknown_create_type", descriptor(flat_line(), "polylithicSparse"),
           "createType \"polylithicSparse\": this kind is not supported"),
      text("nul_before_the_extents", descriptor(std::string(1, '\0') + flat_line()),
           "no extent line"),
      text("nul_between_the_extents",
           descriptor(flat_line() + std::string(kSectorSize, '\0') + flat_line("g")),
           "a part of it is lost"),
      text("B34_too_many_extents", descriptor(many_lines()), "more than 65536 extents"),
      text("B34_above_1_MiB", descriptor(flat_line() + std::string(kMiB, '\n')),
           "the descriptor is longer than 1 MiB"),
      line("line_above_4096_bytes", "#" + std::string(4096, 'x'), "4097 bytes: the limit is 4096"),
      line("B26_unknown_type", "RW 128 FLATT \"f\" 0", "unknown extent type \"FLATT\""),
      line("B26_unknown_access", "RO 128 FLAT \"f\" 0", "\"RO 128 FLAT"),
      line("B26_size_0", "RW 0 FLAT \"f\" 0", "extent length \"0\""),
      line("B26_size_negative", "RW -5 FLAT \"f\" 0", "extent length \"-5\""),
      line("B26_size_2_to_63", "RW 9223372036854775808 FLAT \"f\" 0", "extent length"),
      line("B26_size_text", "RW many FLAT \"f\" 0", "extent length \"many\""),
      line("B26_junk_behind", "RW 128 FLAT \"f\" 0 junk", "unexpected text \"junk\""),
      text("sum_above_2_to_54", descriptor("RW 18014398509481983 ZERO\nRW 1 ZERO\n"),
           "line 7: the extents up to here have 18014398509481984 sectors"),
      line("B27_flat_without_offset", "RW 128 FLAT \"f\"", "a FLAT extent needs an offset"),
      line("B27_vmfs_with_offset", "RW 128 VMFS \"f\" 0", "a VMFS extent has no offset"),
      line("name_empty", "RW 128 FLAT \"\" 0", "a file name in quotes is expected"),
      line("B30_name_with_a_nul", std::string("RW 128 FLAT \"f\0x\" 0", 19),
           "a file name in quotes"),
      line("B30_name_with_a_newline", "RW 128 FLAT \"f\nx\" 0", "a file name in quotes"),
      line("B43_encrypted", "encryption.keySafe = \"vmware:key\"", "encryption.keySafe: the disk"),
      sound("B25b_crlf", replaced(descriptor(flat_line()), "\n", "\r\n")),
      sound("B25b_blank_lines", descriptor("\n \n\t\n" + flat_line() + "\n  \n")),
      sound("B25b_tabs_and_blanks",
            descriptor(fmt::format("\tRW\t {}  FLAT\t\"f\"  0 \t\n", kSectors))),
      sound("B25b_no_final_newline", descriptor(fmt::format("RW {} FLAT \"f\" 0", kSectors))),
      {.name = "B28_flat_shorter_than_its_line",
       .make = with_flat(descriptor("RW 129 FLAT \"f\" 0\n")),
       .object = "/vm/f",
       .cause = "cut: the file has 65536 bytes, line 6 of /vm/disk.vmdk needs 66048"},
      {.name = "B28_flat_offset_behind_the_end",
       .make = with_flat(descriptor("RW 128 FLAT \"f\" 18014398509481000\n")),
       .object = "/vm/f",
       .cause = "cut: the file has 65536 bytes"},
      {.name = "B29_extent_missing",
       .make = with_flat(descriptor(flat_line("g"))),
       .object = "/vm/g",
       .cause = "extent in line 6"},
      {.name = "B30_absolute",
       .make = with_flat(descriptor(flat_line("/etc/shadow"))),
       .object = "/etc/shadow",
       .cause = "not looked at: it lies outside the image's folder"},
      {.name = "B30_parent_folder",
       .make = with_flat(descriptor(flat_line("../etc/shadow"))),
       .object = "/etc/shadow",
       .cause = "not looked at: it lies outside the image's folder"},
      {.name = "B30_down_and_up",
       .make = with_flat(descriptor(flat_line("a/../../etc/shadow"))),
       .object = "/etc/shadow",
       .cause = "not looked at"},
      {.name = "B30_proc",
       .make = with_flat(descriptor(flat_line("/proc/self/fd/3"))),
       .object = "/proc/self/fd/3",
       .cause = "not looked at"},
      {.name = "B30_device",
       .make = with_flat(descriptor(flat_line("/dev/zero"))),
       .object = "/dev/zero",
       .cause = "a device: not looked at"},
      {.name = "B30_json",
       .make = with_flat(descriptor(flat_line("json:{}"))),
       .object = "/vm/json:{}",
       .cause = "extent in line 6"},
      {.name = "B30_nbd",
       .make = with_flat(descriptor(flat_line("nbd://host/x"))),
       .object = "/vm/nbd:/host/x",
       .cause = "extent in line 6"},
      {.name = "flat_extent_is_the_descriptor",
       .make = with_flat(descriptor("RW 1 FLAT \"disk.vmdk\" 0\n")),
       .cause = "line 6 names the descriptor itself as an extent"},
      {.name = "B32_ranges_that_overlap",
       .make =
           with_flat(descriptor("RW 64 FLAT \"f\" 0\nRW 64 FLAT \"f\" 63\n", "twoGbMaxExtentFlat")),
       .answer = Answer::kReadOnly,
       .cause = "lines 6 and 7 name the same bytes of /vm/f"},
      {.name = "B34_very_many_ranges_of_one_file",
       .make =
           [](MemoryFileSystem& files) {
             std::string lines = "encoding=\"GBK\"\n";
             for (int i = 0; i < 20000; ++i)
               lines += "RW 1 FLAT \"\xB4\xC5\" 0\n";
             files.put(kImage, descriptor(lines, "twoGbMaxExtentFlat"));
             files.put("/vm/磁", std::string(kExtent, 'f'));
           },
       .answer = Answer::kReadOnly,
       .cause = "name the same bytes",
       .seconds = 5},
      sound("B33_ranges_side_by_side",
            descriptor("RW 64 FLAT \"f\" 0\nRW 64 FLAT \"f\" 64\n", "twoGbMaxExtentFlat")),
      {.name = "B25_rdonly",
       .make = with_flat(descriptor("RDONLY 128 FLAT \"f\" 0\n")),
       .answer = Answer::kReadOnly,
       .cause = "is a range that cannot be written (RDONLY FLAT)"},
      {.name = "B25_zero",
       .make = with_flat(descriptor(flat_line() + "RW 64 ZERO\n", "twoGbMaxExtentFlat")),
       .answer = Answer::kReadOnly,
       .cause = "is a range that cannot be written (RW ZERO)"},
      {.name = "B25_noaccess",
       .make = with_flat(
           descriptor("NOACCESS 1024 FLAT \"g\" 0\n" + flat_line(), "twoGbMaxExtentFlat")),
       .answer = Answer::kUnreadable,
       .cause = "is a range that cannot be written (NOACCESS FLAT)",
       .damaged = false,
       .read_error = "byte 0 of the disk cannot be read: line 6 of the descriptor says NOACCESS",
       .good_at = 1024 * kSectorSize},
      {.name = "B31_shift_jis",
       .make =
           [](MemoryFileSystem& files) {
             files.put(kImage, descriptor("encoding=\"Shift_JIS\"\n" + flat_line("\x95\x5C")));
             files.put("/vm/表", std::string(kExtent, 'f'));
           },
       .answer = Answer::kOpened},
      {.name = "B31_unknown_encoding",
       .make = with_flat(descriptor("encoding=\"klingon\"\n" + flat_line("\x95\x5C"))),
       .cause = "the names are in the encoding \"klingon\", which is not known"},
      {.name = "B31_encoding_that_nobody_writes",
       .make = with_flat(descriptor("encoding=\"UTF-7\"\n" + flat_line("\x95\x5C"))),
       .cause = "the names are in the encoding \"UTF-7\", which is not known"},
      sound("B31_unknown_encoding_of_a_plain_name",
            descriptor("encoding=\"klingon\"\n" + flat_line())),
      {.name = "B31_signs_in_a_name",
       .make =
           [](MemoryFileSystem& files) {
             files.put(kImage, descriptor(flat_line("a b,c:d%e'f")));
             files.put("/vm/a b,c:d%e'f", std::string(kExtent, 'f'));
           },
       .answer = Answer::kOpened},
      {.name = "B44_change_tracking",
       .make = with_flat(descriptor("changeTrackPath=\"disk-ctk.vmdk\"\n" + flat_line())),
       .answer = Answer::kReadOnly,
       .cause = "change tracking"},
  };
  return rows;
}

// ---- Several files

constexpr const char* kBase = "/vm/base.vmdk";

// A child of base.vmdk, with the content id that base.vmdk has or should have.
void put_child(MemoryFileSystem& files, std::string hint = "base.vmdk",
               std::uint64_t capacity = kMiB) {
  SparseSpec spec;
  spec.capacity = capacity;
  spec.descriptor->cid = 0xC0FFEE01;
  spec.descriptor->parent_cid = 0x12345678;
  spec.descriptor->parent_hint = std::move(hint);
  EXPECT_OK(build_sparse(files, kImage, spec));
}

void put_base(MemoryFileSystem& files, std::uint64_t capacity = kMiB,
              std::uint32_t cid = 0x12345678) {
  SparseSpec spec;
  spec.capacity = capacity;
  spec.descriptor->cid = cid;
  EXPECT_OK(build_sparse(files, kBase, spec));
}

void put_link(MemoryFileSystem& files, const std::string& path, std::uint32_t cid,
              std::uint32_t parent_cid, const std::string& hint) {
  SparseSpec spec;
  spec.capacity = kMiB;
  spec.descriptor->cid = cid;
  spec.descriptor->parent_cid = parent_cid;
  spec.descriptor->parent_hint = hint;
  EXPECT_OK(build_sparse(files, path, spec));
}

Row chain(std::string name, std::function<void(MemoryFileSystem&)> make, std::string cause,
          std::string object = kImage) {
  return {.name = std::move(name),
          .make = std::move(make),
          .object = std::move(object),
          .cause = std::move(cause)};
}

// What the child names is there, but is no VMDK.
Row other_parent(std::string name, std::string bytes, std::string cause) {
  return chain(
      std::move(name),
      [bytes = std::move(bytes)](MemoryFileSystem& files) {
        put_child(files);
        files.put(kBase, bytes);
      },
      std::move(cause), kBase);
}

const std::vector<Row>& chain_rows() {
  static const std::vector<Row> rows = {
      chain(
          "B35_its_own_parent",
          [](MemoryFileSystem& files) {
            put_link(files, kImage, 0x12345678, 0x12345678, "disk.vmdk");
          },
          "the chain of parents comes back to this file"),
      // A child by another name: one in sight would be what is spoken of first.
      chain(
          "B35_two_that_are_each_others",
          [](MemoryFileSystem& files) {
            put_child(files, "sub/base.vmdk");
            put_link(files, "/vm/sub/base.vmdk", 0x12345678, 0xC0FFEE01, "../disk.vmdk");
          },
          "the chain of parents comes back to this file"),
      chain(
          "B35_65_links",
          [](MemoryFileSystem& files) {
            put_link(files, kImage, 100, 101, "l1.vmdk");
            for (std::uint32_t i = 1; i < 64; ++i)
              put_link(files, fmt::format("/vm/l{}.vmdk", i), 100 + i, 101 + i,
                       fmt::format("l{}.vmdk", i + 1));
            put_link(files, "/vm/l64.vmdk", 164, kNoParentCid, "");
          },
          "more than 64", "/vm/"),
      chain(
          "B36_parent_missing", [](MemoryFileSystem& files) { put_child(files); },
          "/vm/base.vmdk: no such file"),
      chain(
          "parent_cid_without_a_hint", [](MemoryFileSystem& files) { put_child(files, ""); },
          "the image has no hint where it is"),
      chain(
          "B37_another_cid",
          [](MemoryFileSystem& files) {
            put_child(files);
            put_base(files, kMiB, 0x0BADCAFE);
          },
          "content id 12345678 is wanted, 0badcafe is there"),
      chain(
          "B36_parent_outside",
          [](MemoryFileSystem& files) {
            put_child(files, "/etc/shadow");
            files.put("/etc/shadow", "root");
          },
          "/etc/shadow: not looked at"),
      chain(
          "B40_windows_path",
          [](MemoryFileSystem& files) { put_child(files, "C:\\\\VMs\\\\x.vmdk"); },
          "/vm/x.vmdk: no such file"),
      {.name = "B40_windows_path_of_a_file_beside",
       .make =
           [](MemoryFileSystem& files) {
             put_child(files, "C:\\VMs\\base.vmdk");
             put_base(files);
           },
       .answer = Answer::kOpened},
      {.name = "B38_parent_smaller",
       .make =
           [](MemoryFileSystem& files) {
             put_child(files);
             put_base(files, kMiB / 2);
           },
       .answer = Answer::kOpened,
       .cause = "has another capacity: 1024 sectors, not 2048"},
      {.name = "B38_parent_larger",
       .make =
           [](MemoryFileSystem& files) {
             put_child(files);
             put_base(files, 2 * kMiB);
           },
       .answer = Answer::kOpened,
       .cause = "has another capacity: 4096 sectors, not 2048"},
      other_parent("B39_parent_is_raw", std::string(510, '\0') + "\x55\xAA", "raw"),
      other_parent("B39_parent_is_qcow2", "QFI\xFB" + std::string(508, '\0'), "qcow2"),
      chain(
          "one_sparse_file_many_times",
          [](MemoryFileSystem& files) {
            SparseSpec part;
            part.capacity = kMiB;
            part.descriptor.reset();
            EXPECT_OK(build_sparse(files, "/vm/x.vmdk", part));
            std::string lines;
            for (int i = 0; i < 1000; ++i)
              lines += "RW 2048 SPARSE \"x.vmdk\"\n";
            files.put(kImage, descriptor(lines, "twoGbMaxExtentSparse"));
          },
          "lines 6 and 7 name the same sparse extent /vm/x.vmdk"),
      chain(
          "embedded_descriptor_of_two_extents",
          [](MemoryFileSystem& files) {
            SparseSpec spec;
            spec.capacity = kMiB;
            spec.descriptor->extent_lines = {extent_line("RW", kMiB, "SPARSE", "disk.vmdk"),
                                             extent_line("RW", kMiB, "SPARSE", "disk.vmdk")};
            EXPECT_OK(build_sparse(files, kImage, spec));
          },
          "the embedded descriptor names more than one extent"),
  };
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Files, HostileRowTest, testing::ValuesIn(file_rows()), RowName());
INSTANTIATE_TEST_SUITE_P(Descriptors, HostileRowTest, testing::ValuesIn(descriptor_rows()),
                         RowName());
INSTANTIATE_TEST_SUITE_P(Chains, HostileRowTest, testing::ValuesIn(chain_rows()), RowName());

}  // namespace
}  // namespace vmdk::test
