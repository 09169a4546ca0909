package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"unsafe"

	"pmemlab/pmem2/platform"
)

// looked is how much is looked at, at the beginning and at the end of a device: every
// signature lies there.
const looked = mib

// contentsOf names what a device that is open seems to hold: "a pool of libpmemobj (at
// 0)". It is read through mappings that can't be written through.
func contentsOf(m platform.Platform, fd int, d *daxDevice) (found []string, err error) {
	n := min(d.size, looked)
	head, err := readMapped(m, fd, d, 0, n)
	if err != nil {
		return nil, err
	}
	tail, err := readMapped(m, fd, d, d.size-n, n)
	if err != nil {
		return nil, err
	}
	if found = recognize(head, tail, d.size); found == nil {
		found = unknownData(head)
	}
	return found, nil
}

// unknownData is what is found where nothing has been recognized, unless all is zero.
func unknownData(head []byte) []string {
	at := slices.IndexFunc(head, func(b byte) bool { return b != 0 })
	if at < 0 {
		return nil
	}
	return []string{fmt.Sprintf("data that is nothing known (the first byte that isn't zero is at %#x)", at)}
}

// readMapped reads bytes of a device through a mapping. Bad blocks are an error.
func readMapped(m platform.Platform, fd int, d *daxDevice, offset, n uint64) ([]byte, error) {
	b := make([]byte, n)
	err := withMapped(m, fd, d, offset, n, platform.ProtRead, func(on []byte) { copy(b, on) })
	return b, err
}

// zeroFront zeroes what is looked at of the beginning of a device, and makes that durable.
func zeroFront(m platform.Platform, d *daxDevice) (err error) {
	fd, err := m.Open(d.path, platform.ORdwr, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", d.path, err)
	}
	defer func() { err = errors.Join(err, m.Close(fd)) }()
	st, err := m.Fstat(fd)
	if err != nil {
		return fmt.Errorf("fstat of %s: %w", d.path, err)
	}
	if st.Type() != platform.SIFCHR || st.Rdev != d.rdev {
		return fmt.Errorf("%s became another device", d.path)
	}
	return withMapped(m, fd, d, 0, min(d.size, looked), readWrite, func(on []byte) {
		clear(on)
		m.CacheOps(platform.GranularityCacheLine).Persist(unsafe.Pointer(&on[0]), uintptr(len(on)))
	})
}

// withMapped calls do with bytes of a device that are mapped. A memory fault is an error.
func withMapped(m platform.Platform, fd int, d *daxDevice, offset, n uint64, prot int, do func(on []byte)) (err error) {
	start := offset / d.align * d.align
	length := min((offset+n-start+d.align-1)/d.align*d.align, d.size-start)
	addr, err := m.Mmap(0, length, prot, platform.MapShared, fd, int64(start))
	if err != nil {
		return fmt.Errorf("mmap of %d bytes at %#x of %s: %w", length, start, d.path, err)
	}
	defer func() { err = errors.Join(err, m.Munmap(addr, length)) }()
	faulted := make(chan any)
	go func() {
		debug.SetPanicOnFault(true)
		defer func() { faulted <- recover() }()
		do(platform.Bytes(addr, length)[offset-start:][:n])
	}()
	if r := <-faulted; r != nil {
		return fmt.Errorf("a memory fault in the %d bytes at %#x of %s: %v", n, offset, d.path, r)
	}
	return nil
}

// signature is what something is recognized by.
type signature struct {
	what string
	at   int64 // from the end if it is negative
	text string
}

// signatures at their one place. Numbers are little-endian.
var signatures = []signature{
	{"an ext2, ext3 or ext4 file system", 1080, "\x53\xef"},
	{"an XFS file system", 0, "XFSB"},
	{"a btrfs file system", 0x10040, "_BHRfS_M"},
	{"an F2FS file system", 1024, "\x10\x20\xf5\xf2"},
	{"an EROFS file system", 1024, "\xe2\xe1\xf5\xe0"},
	{"a squashfs file system", 0, "hsqs"},
	{"a famfs file system", 0, "\xff\x82\xb2\x87\x00\x00\x00\x00"},
	{"an NTFS file system", 3, "NTFS    "},
	{"an exFAT file system", 3, "EXFAT   "},
	{"a FAT file system", 54, "FAT12   "},
	{"a FAT file system", 54, "FAT16   "},
	{"a FAT file system", 82, "FAT32   "},
	{"an ISO 9660 file system", 32769, "CD001"},
	{"a JFS file system", 32768, "JFS1"},
	{"a ReiserFS file system", 0x10034, "ReIsEr"},
	{"swap space", 4096 - 10, "SWAPSPACE2"},
	{"swap space", 4096 - 10, "SWAP-SPACE"},
	{"swap space", 65536 - 10, "SWAPSPACE2"},
	{"a LUKS header", 0, "LUKS\xba\xbe"},
	{"a LUKS header", 0x4000, "SKUL\xba\xbe"},
	{"a LUKS header", 0x8000, "SKUL\xba\xbe"},
	{"a GPT partition table", 512, "EFI PART"},
	{"a GPT partition table", 4096, "EFI PART"},
	{"a GPT partition table", -512, "EFI PART"},
	{"a GPT partition table", -4096, "EFI PART"},
	{"an MBR partition table or boot sector", 510, "\x55\xaa"},
	{"an LVM physical volume", 0, "LABELONE"},
	{"an LVM physical volume", 512, "LABELONE"},
	{"an LVM physical volume", 1024, "LABELONE"},
	{"an LVM physical volume", 1536, "LABELONE"},
	{"a NOVA file system", 4, "AVON"},
	{"a NILFS2 file system", 1030, "\x34\x34"},
	{"an OCFS2 file system", 1024, "OCFSV2"},
	{"an OCFS2 file system", 2048, "OCFSV2"},
	{"an OCFS2 file system", 4096, "OCFSV2"},
	{"an OCFS2 file system", 8192, "OCFSV2"},
	{"a bcache device", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{"a bcachefs file system", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{"a BlueStore device of Ceph", 0, "bluestore block device"},
	{"a Stratis block device", 512 + 4, stratisMagic},
	{"a Stratis block device", 9*512 + 4, stratisMagic},
	{"a dm-integrity device", 0, "integrt\x00"},
	{"a dm-verity hash tree", 0, "verity\x00\x00"},
	{"an mdadm header, version 1.1", 0, mdadmMagic},
	{"an mdadm header, version 1.2", 4096, mdadmMagic},
}

const (
	mdadmMagic   = "\xfc\x4e\x2b\xa9"
	stratisMagic = "!Stra0tis\x86\xff\x02^\x41rh"
)

// anywhere are signatures that may begin any page.
var anywhere = []signature{
	{what: "a pool of libpmemobj", text: "PMEMOBJ\x00"},
	{what: "a pool of libpmemblk", text: "PMEMBLK\x00"},
	{what: "a pool of libpmemlog", text: "PMEMLOG\x00"},
	{what: "a pool set of PMDK", text: "PMEMPOOLSET"},
	{what: "a block translation table", text: "BTT_ARENA_INFO"},
	{what: "the info block of a namespace in fsdax mode", text: "NVDIMM_PFN_INFO"},
	{what: "the info block of a namespace in devdax mode", text: "NVDIMM_DAX_INFO"},
}

// recognize names what the first and the last bytes of a device look like, each once.
func recognize(head, tail []byte, size uint64) (found []string) {
	const (
		zfs   = "a part of a ZFS pool"
		label = 256 * kib
	)
	tailAt := size - uint64(len(tail))
	at := func(offset uint64, text string) bool {
		switch {
		case offset <= uint64(len(head)) && bytes.HasPrefix(head[offset:], []byte(text)):
			return true
		case offset >= tailAt && offset < size:
			return bytes.HasPrefix(tail[offset-tailAt:], []byte(text))
		}
		return false
	}
	seen := map[string]bool{}
	look := func(s signature, offset uint64) {
		if !seen[s.what] && at(offset, s.text) {
			seen[s.what] = true
			found = append(found, fmt.Sprintf("%s (at %#x)", s.what, offset))
		}
	}
	pages := []uint64{}
	for page := uint64(0); page < uint64(len(head)); page += 4096 {
		pages = append(pages, page)
	}
	for page := tailAt / 4096 * 4096; page < size; page += 4096 {
		pages = append(pages, page)
	}
	slices.Sort(pages)
	for _, page := range slices.Compact(pages) {
		for _, s := range anywhere {
			look(s, page)
		}
	}
	for _, s := range signatures {
		offset := uint64(s.at)
		if s.at < 0 {
			offset = size - uint64(-s.at)
		}
		look(s, offset)
	}
	// The volume structure descriptors of UDF, one in each sector of 2 KiB.
	for sector := uint64(32 * kib); sector < 64*kib; sector += 2 * kib {
		for _, id := range []string{"BEA01", "NSR02", "NSR03"} {
			look(signature{what: "a UDF file system", text: id}, sector+1)
		}
	}
	// ZFS has four labels of 256 KiB, the second half of which is a ring of uberblocks.
	if end := size / label * label; end >= 4*label {
		for _, start := range []uint64{0, label, end - 2*label, end - label} {
			for at := start + label/2; at < start+label; at += kib {
				look(signature{what: zfs, text: "\x0c\xb1\xba\x00\x00\x00\x00\x00"}, at)
				look(signature{what: zfs, text: "\x00\x00\x00\x00\x00\xba\xb1\x0c"}, at)
			}
		}
	}
	// The two versions whose place counts from the end.
	if size >= 1<<17 {
		look(signature{what: "an mdadm header, version 0.90", text: mdadmMagic}, size&^0xffff-0x10000)
		look(signature{what: "an mdadm header, version 0.90, of a big-endian machine", text: "\xa9\x2b\x4e\xfc"}, size&^0xffff-0x10000)
		look(signature{what: "an mdadm header, version 1.0", text: mdadmMagic}, (size-8192)&^4095)
	}
	return found
}
