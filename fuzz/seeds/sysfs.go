package seeds

import (
	"slices"
	"strings"
	"syscall"

	"pmemlab/fuzz"
	"pmemlab/fuzz/model"
)

// sysfsSeeds are the inputs of the target Sysfs: which question was asked is told by what was
// read for it.
func sysfsSeeds(t Trace) (seeds []seed, err error) {
	add := func(question string, variant byte, texts ...*model.Attr) {
		if input := fuzz.SysfsSeed(question, variant, texts); input != nil {
			seeds = append(seeds, seed{"Sysfs", input})
		}
	}
	rest := t.Sysfs
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		text := &model.Attr{Text: a.Text, Errno: a.Errno}
		name := nameIn(a.Path)
		switch {
		case a.How == Readlink && name == "subsystem":
			add(fuzz.SysfsSubsystem, 0, text)
		case a.How == Readlink && strings.HasPrefix(a.Path, "dev/char/"):
			add(fuzz.SysfsRegion, 0, text, busOf(rest[i+1:]))
		case a.How == Readlink && strings.HasPrefix(a.Path, "dev/block/"):
			add(fuzz.SysfsDisk, 0, text, busOf(rest[i+1:]))
		case a.How == WriteAttr && name == "deep_flush":
			variant, known := deepFlushAnswers[a.Errno]
			if !known {
				variant = 7
			}
			add(fuzz.SysfsDeepFlush, variant, before(rest[:i], "deep_flush"))
		case a.How != ReadAttr:
		case name == "size" && strings.HasPrefix(a.Path, "dev/char/"):
			add(fuzz.SysfsSize, 0, text)
		case name == "align":
			add(fuzz.SysfsAlignment, 0, text)
		case name == "numa_node":
			add(fuzz.SysfsNode, 0, text)
		case name == "deep_flush":
			add(fuzz.SysfsDeepFlush, 7, text)
		case name == "mappings":
			i += dimmSeeds(rest[i:], add) - 1
		case name == "persistence_domain":
			var domains []*model.Attr
			for ; i < len(rest) && strings.HasSuffix(rest[i].Path, "/persistence_domain"); i++ {
				domains = append(domains, &model.Attr{Text: rest[i].Text, Errno: rest[i].Errno})
			}
			i--
			domains = domains[:min(len(domains), 3)]
			add(fuzz.SysfsGranularity, byte(len(domains)), domains...)
		case name == "badblocks":
			if strings.Contains(a.Path, "/block/") {
				add(fuzz.SysfsFileBad, 0, text, nil, nil)
			} else {
				add(fuzz.SysfsDeviceBad, 0, text, nil, nil, nil)
			}
		}
	}
	return seeds, nil
}

// deepFlushAnswers are the variants for what the write of deep_flush is answered.
var deepFlushAnswers = map[syscall.Errno]byte{0: 7, syscall.EACCES: 0, syscall.EPERM: 1, syscall.EROFS: 2, syscall.EIO: 3}

// nameIn is the last name of a path.
func nameIn(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// before is what an attribute last said.
func before(accesses []Access, name string) *model.Attr {
	for _, a := range slices.Backward(accesses) {
		if a.How == ReadAttr && nameIn(a.Path) == name {
			return &model.Attr{Text: a.Text, Errno: a.Errno}
		}
	}
	return nil
}

// busOf is the list of what is on the bus, if it is read next.
func busOf(next []Access) *model.Attr {
	if len(next) == 0 || next[0].How != List || next[0].Path != "bus/nd/devices" {
		return nil
	}
	return &model.Attr{Text: strings.Join(next[0].Names, "/"), Errno: next[0].Errno}
}

// dimmSeeds adds the question that begins with the number of mappings, and returns how many
// accesses were for it.
func dimmSeeds(rest []Access, add func(question string, variant byte, texts ...*model.Attr)) (n int) {
	texts := make([]*model.Attr, 9) // of four NVDIMMs, how many mappings, four mappings
	texts[4] = &model.Attr{Text: rest[0].Text, Errno: rest[0].Errno}
	question := fuzz.SysfsUSC
	dimms, mappings := 0, 0
	for n = 1; n < len(rest) && rest[n].How == ReadAttr; n++ {
		text := &model.Attr{Text: rest[n].Text, Errno: rest[n].Errno}
		switch name := nameIn(rest[n].Path); {
		case strings.HasPrefix(name, "mapping") && name != "mappings" && mappings < 4:
			texts[5+mappings] = text
			mappings++
		case (name == "id" || name == "dirty_shutdown") && dimms < 4:
			if name == "id" {
				question = fuzz.SysfsID
			}
			texts[dimms] = text
			dimms++
		default:
			add(question, 0, texts...)
			return n
		}
	}
	add(question, 0, texts...)
	return n
}
