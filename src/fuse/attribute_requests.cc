// Extended attributes: what is shown, told by the file that shows it. They are made when they are
// asked for. Nothing sets or removes one: without handlers the kernel says EOPNOTSUPP.
#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "fuse/handlers.h"

namespace vmdkfuse {
namespace {

struct ExtendedAttribute {
  std::string_view name;
  std::string (*value)(const Front& front, const View& view);
};

// The image whose state is shown; those beneath it are its parents.
vmdk::LayerInfo image_of(const Front& front, const View& view) {
  return front.disk.info().layers.at(view.place.layer);
}

std::string format_of(const Front& front, const View& view) {
  return image_of(front, view).create_type;
}

std::string size_of(const Front&, const View& view) {
  return std::to_string(view.length());
}

// As in .vmdkfuse/info.json.
std::string content_id_of(const Front& front, const View& view) {
  return fmt::format("{:08x}", image_of(front, view).cid);
}

std::string layers_of(const Front& front, const View& view) {
  return std::to_string(front.disk.info().layers.size() - view.place.layer);
}

std::string figures_of(const Front& front, const View&) {
  return front.figures();
}

constexpr std::array<ExtendedAttribute, 5> kAttributes = {{
    {"user.vmdkfuse.format", format_of},
    {"user.vmdkfuse.size", size_of},
    {"user.vmdkfuse.cid", content_id_of},
    {"user.vmdkfuse.layers", layers_of},
    {"user.vmdkfuse.stats", figures_of},
}};

// `room` 0: only the length is asked for.
void reply_value(fuse_req_t request, std::string_view value, std::size_t room) noexcept {
  if (room == 0)
    fuse_reply_xattr(request, value.size());
  else if (value.size() > room)
    fuse_reply_err(request, ERANGE);
  else
    fuse_reply_buf(request, value.data(), value.size());
}

// One ENOSYS ends all these questions for as long as the mount lives. Where each write(2) would
// bring one, that is better than to have attributes.
template <class Handler>
void guarded_question(fuse_req_t request, Handler handler) noexcept {
  guarded(request, [&](Front& front) {
    if (front.has_extended_attributes)
      return handler(front);
    fuse_reply_err(request, ENOSYS);
    return 0;
  });
}

// Folders and texts have none.
void on_getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t room) noexcept {
  guarded_question(request, [&](Front& front) {
    const auto* const found =
        std::find_if(kAttributes.begin(), kAttributes.end(),
                     [&](const ExtendedAttribute& each) { return each.name == name; });
    const ViewPointer view = found != kAttributes.end() ? front.views.find(node) : nullptr;
    if (view == nullptr)
      return ENODATA;
    reply_value(request, found->value(front, *view), room);
    return 0;
  });
}

void on_listxattr(fuse_req_t request, fuse_ino_t node, std::size_t room) noexcept {
  guarded_question(request, [&](Front& front) {
    std::string names;
    if (front.views.find(node) != nullptr) {
      for (const ExtendedAttribute& each : kAttributes)
        names.append(each.name).push_back('\0');
    }
    reply_value(request, names, room);
    return 0;
  });
}

}  // namespace

void add_attribute_handlers(fuse_lowlevel_ops& handlers) noexcept {
  handlers.getxattr = on_getxattr;
  handlers.listxattr = on_listxattr;
}

}  // namespace vmdkfuse
