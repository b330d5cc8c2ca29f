"""The disks that the sessions work on: a system disk with two partitions and two snapshots."""

PARTITIONS = """label: dos
start=2048, size=65536, type=c
start=67584, type=83
"""


def make_disks(session):
    session.write("partitions", PARTITIONS)
    session.run("mkdir files && echo 'hostname = alpha' >files/settings.txt")
    session.run("head -c 3M /dev/urandom >files/photo.raw")
    session.run("vmdkctl create web.vmdk 128M && touch disk")
    # Else it would sync every file system of this machine.
    session.run("vmdkfuse web.vmdk disk && sfdisk -q --no-tell-kernel disk <partitions")
    session.run("mkfs.ext4 -q -F -L system -d files -E offset=34603008 disk 95M && vmdkfuse -u disk")
    session.run("vmdkctl create --parent=web.vmdk web-000001.vmdk")
    session.run("vmdkfuse web-000001.vmdk disk")
    session.run("debugfs -w -R 'write files/settings.txt second.txt' 'disk?offset=34603008' 2>/dev/null")
    session.run("vmdkfuse -u disk")
    session.run("vmdkctl create --parent=web-000001.vmdk web-000002.vmdk")
    session.run("rm -r partitions files disk")
