package fuzz

import (
	"errors"
	"fmt"
	"strings"

	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
)

// Sysfs is the target of everything that is learnt from the texts of sysfs: any text,
// or an errno, where a number, a name, a list or a link is expected.
//
// An input is a byte for what is asked, one for the machine, and then the texts that are
// read for it, in the order of the question's attributes: see sysfsPieces. Those that it
// doesn't have are as on a real machine.
var Sysfs = Target{
	Name:     "Sysfs",
	About:    "texts of sysfs: size, alignment, node, NVDIMMs, persistence domain, links, bad blocks, bounds, deep flush",
	Accepted: "understood",
	New:      newSysfsInstance,
	Generate: sysfsInputBytes,
	Seeds:    sysfsSeeds,
}

type sysfsInstance struct {
	machine      *textMachine
	device, file *pmem2.Source
	configs      [3]*pmem2.Config // by required granularity
	mapped       *pmem2.Map       // of the device
	text         []byte
	sections     []model.Attr
	id           []byte
	pieces       []model.Piece
	bad          []model.Extent
}

// question is something that is learnt from sysfs.
type question struct {
	name  string
	attrs []int // that an input gives, in this order
	ask   func(i *sysfsInstance, variant byte) (bool, error)
}

// questions are picked by the first byte of an input.
var questions = [...]question{
	{"pmem2_source_size", []int{attrSize}, (*sysfsInstance).askSize},
	{"pmem2_source_alignment", []int{attrAlign}, (*sysfsInstance).askAlignment},
	{"pmem2_source_numa_node", []int{attrNode}, (*sysfsInstance).askNode},
	{"pmem2_source_device_usc", dimmAttrs, (*sysfsInstance).askUSC},
	{"pmem2_source_device_id", dimmAttrs, (*sysfsInstance).askID},
	{"pmem2_map_get_store_granularity", nil, (*sysfsInstance).askGranularity},
	{"pmem2_source_from_fd", []int{attrSubsystem}, (*sysfsInstance).askSubsystem},
	{"region of a device DAX", []int{attrDevice}, (*sysfsInstance).askRegion},
	{"region of a file", []int{attrBlock}, (*sysfsInstance).askDisk},
	{"bad blocks of a file", []int{attrDiskBad, attrFirst, attrPartition}, (*sysfsInstance).askFileBad},
	{"bad blocks of a device DAX", []int{attrRegionBad, attrStart, attrNamespaceSize, attrRegionStart}, (*sysfsInstance).askDeviceBad},
	{"pmem2_deep_flush", []int{attrDeepFlush}, (*sysfsInstance).askDeepFlush},
}

var dimmAttrs = []int{
	attrDIMM0, attrDIMM1, attrDIMM2, attrDIMM3, attrMappings, attrMapping0, attrMapping1, attrMapping2, attrMapping3,
}

func newSysfsInstance() (Instance, error) {
	m := newTextMachine()
	i := &sysfsInstance{machine: m}
	var errs [4]error
	i.device, errs[0] = pmem2.SourceFromFD(deviceFD, pmem2.On(m))
	i.file, errs[1] = pmem2.SourceFromFD(fileFD, pmem2.On(m))
	for g := range i.configs {
		i.configs[g] = pmem2.NewConfig()
		errs[2] = errors.Join(errs[2], i.configs[g].SetRequiredStoreGranularity(pmem2.Granularity(g)))
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	m.addr += 1 << 25 // the map that stays is beside those that come and go
	i.mapped, errs[3] = pmem2.NewMap(i.configs[pmem2.GranularityPage], i.device)
	m.addr -= 1 << 25
	return i, errs[3]
}

// Close is Instance.Close.
func (i *sysfsInstance) Close() error { return i.mapped.Delete() }

// mostSysfsInput is how many bytes of an input count: the kernel says no more than a page.
const mostSysfsInput = 512

// Run is Instance.Run.
func (i *sysfsInstance) Run(input []byte) (bool, error) {
	var head [2]byte
	input = input[copy(head[:], input):]
	input = input[:min(len(input), mostSysfsInput)]
	q := &questions[int(head[0])%len(questions)]
	m := i.machine
	i.decode(input)
	for k, a := range q.attrs {
		if k < len(i.sections) {
			m.attrs[a] = i.sections[k]
		}
	}
	accepted, err := q.ask(i, head[1])
	if err == nil && m.wrong != "" {
		err = fmt.Errorf("%s is written", m.wrong)
	}
	if err != nil {
		err = fmt.Errorf("%s, variant %d, where sysfs says %s: %w", q.name, head[1], i.words(), err)
	}
	for _, a := range q.attrs {
		m.attrs[a] = defaultAttrs[a]
	}
	m.wrong = ""
	return accepted, err
}

// words are the texts of an input.
func (i *sysfsInstance) words() string {
	var b strings.Builder
	for k, s := range i.sections {
		if k > 0 {
			b.WriteString(", ")
		}
		if s.Errno != 0 {
			fmt.Fprintf(&b, "errno %d", int(s.Errno))
		} else {
			fmt.Fprintf(&b, "%q", s.Text)
		}
	}
	return b.String()
}

// section is what the n-th text of an input is, if the input has one.
func (i *sysfsInstance) section(n int) (model.Attr, bool) {
	if n < len(i.sections) {
		return i.sections[n], true
	}
	return model.Attr{}, false
}

// differs is the error for a result or a number that isn't what the model wants, or nil.
// Of a failure only the result counts, and that the number is zero.
func differs(err error, got uint64, want model.Result, number uint64) error {
	if r := model.Of(err); r != want {
		return fmt.Errorf("got %v (%d; %w), want %v (%d)", r, got, err, want, number)
	}
	if want != model.OK {
		number = 0
	}
	if got != number {
		return fmt.Errorf("got %d (%#x), want %d (%#x), the result being %v", got, got, number, number, want)
	}
	return nil
}

func (i *sysfsInstance) askSize(byte) (bool, error) {
	got, err := i.device.Size()
	n, want := model.DeviceSize(i.machine.attrs[attrSize])
	return err == nil, differs(err, got, want, n)
}

func (i *sysfsInstance) askAlignment(variant byte) (bool, error) {
	m := i.machine
	if variant%8 == 7 {
		m.page = 65536
	}
	got, err := i.device.Alignment()
	n, want := model.DeviceAlignment(m.attrs[attrAlign], m.page)
	m.page = 4096
	return err == nil, differs(err, got, want, n)
}

func (i *sysfsInstance) askNode(byte) (bool, error) {
	got, err := i.device.NUMANode()
	n, want := model.NUMANode(i.machine.attrs[attrNode])
	return err == nil, differs(err, uint64(got), want, uint64(n))
}

// dimms are the NVDIMMs, as many as the variant says if the input doesn't.
func (i *sysfsInstance) dimms(variant byte) model.DIMMs {
	m := i.machine
	if _, told := i.section(4); !told {
		m.attrs[attrMappings].Text = [8]string{"1\n", "1\n", "1\n", "1\n", "2\n", "2\n", "3\n", "4\n"}[variant%8]
	}
	return model.DIMMs{
		Mappings: m.attrs[attrMappings],
		Mapping:  m.attrs[attrMapping0 : attrMapping3+1],
		DIMM:     m.attrs[attrDIMM0 : attrDIMM3+1],
	}
}

func (i *sysfsInstance) askUSC(variant byte) (bool, error) {
	n, want := i.dimms(variant).DeviceUSC()
	got, err := i.device.DeviceUSC()
	return err == nil, differs(err, got, want, n)
}

func (i *sysfsInstance) askID(variant byte) (bool, error) {
	id, want := i.dimms(variant).DeviceID(i.id[:0])
	i.id = id
	var got string
	var err error
	if variant&8 == 0 {
		got, err = i.device.DeviceID()
	} else {
		// Into a buffer that is as long as the identifier, or shorter.
		var buf [64]byte
		room := min(len(id), len(buf))
		if variant&16 != 0 && room > 0 {
			room--
		}
		var n int
		n, err = i.device.ReadDeviceID(buf[:room])
		got = string(buf[:n])
		if want == model.OK && room < len(id) {
			want = model.Fails(pmem2.ErrBufferTooSmall)
		}
	}
	if r := model.Of(err); r != want || want == model.OK && got != string(id) || want != model.OK && got != "" {
		return false, fmt.Errorf("got %v, %q; want %v, %q", r, got, want, id)
	}
	return err == nil, nil
}
