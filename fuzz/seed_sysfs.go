package fuzz

import (
	"syscall"

	"pmemlab/fuzz/model"
)

// The questions that are asked of sysfs, by what the target Sysfs calls them.
const (
	SysfsSize        = "pmem2_source_size"
	SysfsAlignment   = "pmem2_source_alignment"
	SysfsNode        = "pmem2_source_numa_node"
	SysfsUSC         = "pmem2_source_device_usc"
	SysfsID          = "pmem2_source_device_id"
	SysfsGranularity = "pmem2_map_get_store_granularity"
	SysfsSubsystem   = "pmem2_source_from_fd"
	SysfsRegion      = "region of a device DAX"
	SysfsDisk        = "region of a file"
	SysfsFileBad     = "bad blocks of a file"
	SysfsDeviceBad   = "bad blocks of a device DAX"
	SysfsDeepFlush   = "pmem2_deep_flush"
)

// SysfsSeed is the input of the target Sysfs that asks a question of texts, or errnos, that
// were read for it; a nil one is as on a real machine. It is nil if a text isn't one that an
// input can have.
func SysfsSeed(name string, variant byte, texts []*model.Attr) []byte {
	for len(texts) > 0 && texts[len(texts)-1] == nil {
		texts = texts[:len(texts)-1]
	}
	n := -1
	for i := range questions {
		if questions[i].name == name {
			n = i
		}
	}
	if n < 0 {
		return nil
	}
	b := []byte{byte(n), variant}
	for i, t := range texts {
		if i > 0 {
			b = append(b, byteNext)
		}
		if t == nil {
			d := defaultAttrs[attrBlock]
			if i < len(questions[n].attrs) {
				d = defaultAttrs[questions[n].attrs[i]]
			}
			t = &d
		}
		switch t.Errno {
		case 0:
			for k := range len(t.Text) {
				if t.Text[k] >= 0x80 {
					return nil
				}
			}
			b = append(b, t.Text...)
		case syscall.ENOENT:
			b = append(b, byteAbsent)
		case syscall.EACCES, syscall.EPERM:
			b = append(b, byteDenied)
		default:
			b = append(b, byteBroken)
		}
	}
	return b
}
