fio --name=r --filename=/tmp/r/flat2 --size=1G --bs=4k --rw=randread --ioengine=libaio --iodepth=32 --direct=1 --time_based --runtime=${1:-4} --allow_file_create=0 2>&1 | grep -E 'IOPS|cpu'
