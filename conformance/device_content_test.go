package conformance

import (
	"slices"
	"strings"
	"testing"
)

func TestRecognize(t *testing.T) {
	const size = 5<<20 + 3*4096
	md10, md090 := (size-8192)/4096*4096, size/65536*65536-65536
	for _, row := range []struct {
		at   int // from the end if it is negative
		text string
		want string // "" is nothing
	}{
		{0, "PMEMOBJ\x00", "a pool of libpmemobj (at 0x0)"},
		{0, "PMEMBLK\x00", "a pool of libpmemblk (at 0x0)"},
		{0, "PMEMLOG\x00", "a pool of libpmemlog (at 0x0)"},
		{0, "PMEMPOOLSET\n", "a pool set of PMDK (at 0x0)"},
		{8192, "PMEMOBJ\x00", "a pool of libpmemobj (at 0x2000)"},
		{-4096, "PMEMOBJ\x00", "a pool of libpmemobj (at 0x502000)"},
		{4096, "BTT_ARENA_INFO", "a block translation table (at 0x1000)"},
		{-4096, "BTT_ARENA_INFO", "a block translation table (at 0x502000)"},
		{4096, "NVDIMM_PFN_INFO", "the info block of a namespace in fsdax mode (at 0x1000)"},
		{4096, "NVDIMM_DAX_INFO", "the info block of a namespace in devdax mode (at 0x1000)"},
		{1080, "\x53\xef", "an ext2, ext3 or ext4 file system (at 0x438)"},
		{0, "XFSB", "an XFS file system (at 0x0)"},
		{65536 + 64, "_BHRfS_M", "a btrfs file system (at 0x10040)"},
		{3, "NTFS    ", "an NTFS file system (at 0x3)"},
		{82, "FAT32   ", "a FAT file system (at 0x52)"},
		{4086, "SWAPSPACE2", "swap space (at 0xff6)"},
		{0, "LUKS\xba\xbe", "a LUKS header (at 0x0)"},
		{512, "LABELONE", "an LVM physical volume (at 0x200)"},
		{512, "EFI PART", "a GPT partition table (at 0x200)"},
		{-512, "EFI PART", "a GPT partition table (at 0x502e00)"},
		{510, "\x55\xaa", "an MBR partition table or boot sector (at 0x1fe)"},
		{0, "\xfc\x4e\x2b\xa9", "an mdadm header, version 1.1 (at 0x0)"},
		{4096, "\xfc\x4e\x2b\xa9", "an mdadm header, version 1.2 (at 0x1000)"},
		{md10, "\xfc\x4e\x2b\xa9", "an mdadm header, version 1.0 (at 0x501000)"},
		{md090, "\xfc\x4e\x2b\xa9", "an mdadm header, version 0.90 (at 0x4f0000)"},
		{4, "AVON", "a NOVA file system (at 0x4)"},
		{1030, "44", "a NILFS2 file system (at 0x406)"},
		{1024, "OCFSV2", "an OCFS2 file system (at 0x400)"},
		{8192, "OCFSV2", "an OCFS2 file system (at 0x2000)"},
		{4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", "a bcache device (at 0x1018)"},
		{4120, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", "a bcachefs file system (at 0x1018)"},
		{0, "bluestore block device\n", "a BlueStore device of Ceph (at 0x0)"},
		{516, "!Stra0tis\x86\xff\x02^\x41rh", "a Stratis block device (at 0x204)"},
		{0, "integrt\x00", "a dm-integrity device (at 0x0)"},
		{0, "verity\x00\x00", "a dm-verity hash tree (at 0x0)"},
		{32769, "BEA01", "a UDF file system (at 0x8001)"},
		{32769 + 4096, "NSR03", "a UDF file system (at 0x9001)"},
		{128 << 10, "\x0c\xb1\xba\x00\x00\x00\x00\x00", "a part of a ZFS pool (at 0x20000)"},
		{255 << 10, "\x00\x00\x00\x00\x00\xba\xb1\x0c", "a part of a ZFS pool (at 0x3fc00)"},
		{(256 + 128) << 10, "\x0c\xb1\xba\x00\x00\x00\x00\x00", "a part of a ZFS pool (at 0x60000)"},
		{size/(256<<10)*(256<<10) - 128<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00", "a part of a ZFS pool (at 0x4e0000)"},
		{127 << 10, "\x0c\xb1\xba\x00\x00\x00\x00\x00", ""},
		{100, "PMEMOBJ\x00", ""},
		{0, "PMEMOBX\x00", ""},
		{0, "\xa9\x2b\x4e\xfc", ""},
		{1080, "\xef\x53", ""},
	} {
		device := make([]byte, size)
		at := row.at
		if at < 0 {
			at += size
		}
		copy(device[at:], row.text)
		got := recognize(device[:looked], device[size-looked:], size)
		want := []string{row.want}
		if row.want == "" {
			want = nil
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q at %#x: recognized is %q, want %q", row.text, at, got, want)
		}
	}
	if got := recognize(make([]byte, looked), make([]byte, looked), size); got != nil {
		t.Errorf("zeroes: recognized is %q, want nothing", got)
	}
	// Head and tail are the same bytes, or overlap.
	for _, size := range []int{4096, 8192, looked, looked + 4096} {
		device := make([]byte, size)
		copy(device, "XFSB")
		n := min(size, looked)
		if got := recognize(device[:n], device[size-n:], uint64(size)); len(got) != 1 || !strings.Contains(got[0], "XFS") {
			t.Errorf("an XFS file system of %d bytes: recognized is %q", size, got)
		}
	}
}
