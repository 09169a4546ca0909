package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"

	"pmemlab/emu"
	"pmemlab/fuzz/model"
	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// Map is the target of pmem2_map_new(3): any source, config and reservation, on machines
// that answer what they like.
var Map = Target{
	Name:     "Map",
	About:    "map parameters: source, offset, length, granularity, sharing, protection, reservation, the kernel's answers",
	Accepted: "mapped",
	New:      newMapInstance,
	Generate: mapInputBytes,
}

// mapInput is an input of the target Map. What a byte picks is picked by its remainder.
type mapInput struct {
	Machine     byte // of mapMachines
	Object      byte // of the machine's objects
	Access      byte // of accesses
	Granularity byte // remainder by 32; 0: not set, 1 to 8: BYTE or CACHE_LINE, else PAGE
	Forced      byte // above 240: forced to a granularity
	Sharing     byte // remainder by 16; 4: private; of what is append-only also 3, 7, 11 and 15
	Prot        byte // bits
	Answer      byte // of mapAnswers
	Reserve     byte // remainder by 32, from reserveDeleted on
	Size        Number
	Offset      Number
	Length      Number
	Room        Number // size of the reservation
	At          Number // where in the reservation
	Taken       Number // where another mapping lies in it
}

// Layout is how it lies in bytes.
func (in *mapInput) Layout(c *Codec) {
	for _, b := range []*byte{
		&in.Machine, &in.Object, &in.Access, &in.Granularity, &in.Forced, &in.Sharing, &in.Prot, &in.Answer, &in.Reserve,
	} {
		c.Byte(b)
	}
	for _, n := range []*Number{&in.Size, &in.Offset, &in.Length, &in.Room, &in.At, &in.Taken} {
		c.Number(n)
	}
}

// settings are those of a config that need no numbers.
func (in *mapInput) settings(q *model.MapRequest) {
	if g := in.Granularity % 32; g != 0 {
		q.Granularity, q.GranularitySet = pmem2.GranularityPage, true
		if g < 9 {
			q.Granularity = pmem2.Granularity(g % 2) // BYTE, CACHE_LINE
		}
	}
	if in.Sharing%16 == 4 || q.Source.AppendOnly && in.Sharing%4 == 3 {
		q.Sharing = pmem2.Private
	}
	q.Prot = pmem2.ProtRead | pmem2.ProtWrite
	if in.Prot%4 == 3 {
		q.Prot = pmem2.Prot(in.Prot>>2&7) << 29
	}
}

// room is the size of the reservation for a request, where in it the mapping is to lie, and
// where a page that is taken, both counted from its start.
func (in *mapInput) room(q *model.MapRequest) (size, offset, taken uint64) {
	page := q.Machine.Page
	around := Around{Page: page, Align: q.Source.Align, Size: q.Source.Size}
	size = in.Room.In(around) % (64 * mib) &^ (page - 1)
	if size == 0 {
		size = min(max(16*page, q.Source.Align), 32*mib)
	}
	length := q.Length
	if length == 0 {
		length = q.Source.Size - q.Offset
	}
	offset = in.At.In(Around{Page: page, Align: q.Source.Align, Size: size, Other: length, Room: size})
	taken = in.Taken.In(Around{Page: page, Size: size, Other: offset, Room: offset + length}) % size &^ (page - 1)
	return size, offset, taken
}

const mapInputSize = 9 + 6*NumberBytes

func mapInputBytes(r *rand.Rand) []byte { return randomBytes(r, mapInputSize) }

// mapMachines are the machines that mappings are tried on.
var mapMachines = []emu.Config{{}, {EADR: true}, {NoSharedValidate: true}}

// mapAnswers are what the kernel may answer, mostly nothing special. Those of one call are
// errnos that the pages name, or that C has taken for another one.
var mapAnswers = [...]answers{
	11: {sync: syscall.EOPNOTSUPP}, 12: {sync: syscall.EINVAL}, 13: {sync: syscall.EACCES}, 14: {sync: syscall.EAGAIN},
	15: {sync: syscall.ENOMEM}, 16: {sync: syscall.EOPNOTSUPP, plain: syscall.EOPNOTSUPP}, 17: {sync: syscall.EINVAL, plain: syscall.EINVAL},
	18: {sync: syscall.EINVAL, plain: syscall.EACCES}, 19: {plain: syscall.ENODEV}, 20: {plain: syscall.EPERM}, 21: {plain: syscall.EOPNOTSUPP},
	22: {move: syscall.ENOMEM}, 23: {move: syscall.EAGAIN}, 24: {plain: syscall.EACCES, sync: syscall.ENFILE}, 25: {plain: syscall.EACCES},
	127: {},
}

// The remainders by 32 that ask for a reservation: for one that has been deleted, for one
// with another mapping in it, and, above, for one that has nothing in it.
const (
	reserveDeleted = 28 + iota
	reserveTaken
)

// mapObject is something on a machine that sources are made of. Index: access.
type mapObject struct {
	name   string
	source model.Source // but for size and access
	sync   bool
	sizer  int // descriptor that gives a file its size
	size   uint64
	fds    [4]int
	made   [4]*pmem2.Source
}

type mapMachine struct {
	probe
	emulated *emu.Machine
	config   emu.Config
	objects  []*mapObject
}

type mapInstance struct {
	machines []*mapMachine
	// The input that is run is here, since the engine runs each on a stack of its own, which
	// is small and has to grow.
	input mapInput
	try   mapTry
}

const (
	mib = 1 << 20
	// maxFile is how long files may be: on ext4 less than 16 TiB.
	maxFile = 1<<44 - 1<<12
	// addressSpace is how long a mapping can be at most on the machines that Linux runs
	// on with pages of 4 KiB and four levels. Other mappings lie amid it, and of memory
	// there is less.
	addressSpace, doubtful, memory = 1 << 47, 1 << 44, 1 << 30
)

var accesses = [4]int{
	model.ReadWrite: os.O_RDWR, model.ReadOnly: os.O_RDONLY, model.WriteOnly: os.O_WRONLY, model.PathOnly: platform.OPath,
}

func newMapInstance() (Instance, error) {
	i := &mapInstance{}
	for _, cfg := range mapMachines {
		m, err := newMapMachine(cfg)
		if m != nil {
			i.machines = append(i.machines, m)
		}
		if err != nil {
			return nil, errors.Join(err, i.Close())
		}
	}
	return i, nil
}

func newMapMachine(cfg emu.Config) (*mapMachine, error) {
	cfg.TraceEvents = -1
	e := emu.NewMachine(cfg)
	m := &mapMachine{probe: probe{Platform: e}, emulated: e, config: cfg}
	type place struct {
		name string
		path string
		mapObject
	}
	var places []place
	device := func(name string, size, align uint64) {
		d := e.AddDevDax(emu.DevDax{Size: size, Align: align})
		places = append(places, place{name, d.Path(), mapObject{
			source: model.Source{Kind: model.DeviceDAX, Size: size, Align: align}, sync: true,
		}})
	}
	device("a device DAX of 16 MiB, alignment 2 MiB,", 16*mib, 2*mib)
	device("a device DAX of 1 MiB, alignment 4 KiB,", mib, 4096)
	device("a device DAX of 2 GiB, alignment 1 GiB,", 2<<30, 1<<30)
	dax := e.AddFS(emu.FS{Size: 1 << 30, DAX: true})
	disk := e.AddFS(emu.FS{Size: 1 << 30})
	for _, f := range []struct {
		name string
		path string
		mapObject
	}{
		{"a DAX file", dax.Path("file"), mapObject{sync: true}},
		{"a file", disk.Path("file"), mapObject{}},
		{"an append-only DAX file", dax.Path("append"), mapObject{sync: true, source: model.Source{AppendOnly: true, Size: mib}}},
	} {
		f.source.Kind, f.source.Align = model.File, m.PageSize()
		places = append(places, f)
	}
	if err := e.Err(); err != nil {
		return m, err
	}
	for _, p := range places {
		o := p.mapObject
		o.name, o.size = p.name, o.source.Size
		if o.source.Kind == model.File {
			fd, err := e.Open(p.path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				return m, err
			}
			o.sizer = fd
			if err := e.Ftruncate(fd, int64(o.size)); err != nil {
				return m, err
			}
			if o.source.AppendOnly {
				if err := e.SetFlags(p.path, true, false); err != nil {
					return m, err
				}
			}
		}
		for a, flags := range accesses {
			if o.source.AppendOnly && a != int(model.PathOnly) && a != int(model.ReadOnly) {
				flags |= os.O_APPEND
			}
			fd, err := e.Open(p.path, flags, 0)
			if err != nil {
				return m, fmt.Errorf("%s: %w", p.path, err)
			}
			o.fds[a] = fd
			if a == int(model.WriteOnly) {
				continue
			}
			if o.made[a], err = pmem2.SourceFromFD(fd, pmem2.On(m)); err != nil {
				return m, err
			}
		}
		m.objects = append(m.objects, &o)
	}
	return m, nil
}

// Close is Instance.Close.
func (i *mapInstance) Close() error {
	var errs []error
	for _, m := range i.machines {
		for _, o := range m.objects {
			for _, fd := range o.fds {
				errs = append(errs, m.emulated.Close(fd))
			}
			if o.sizer != 0 {
				errs = append(errs, m.emulated.Close(o.sizer))
			}
		}
		errs = append(errs, m.emulated.Shutdown())
	}
	return errors.Join(errs...)
}

// Run is Instance.Run.
func (i *mapInstance) Run(input []byte) (bool, error) {
	Decode(input, &i.input)
	t := &i.try
	*t = mapTry{m: i.machines[int(i.input.Machine)%len(i.machines)]}
	err := t.run(&i.input)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.words(), err)
	}
	return t.mapped, err
}

// mapTry is one input on its way.
type mapTry struct {
	m       *mapMachine
	object  *mapObject // nil: anonymous
	source  *pmem2.Source
	q       model.MapRequest
	want    model.Mapping
	reserve *pmem2.VMReservation
	taken   *pmem2.Map
	mapped  bool
}

// words say what is tried.
func (t *mapTry) words() string { return describeRequest(t.q, t.name()) }

func (t *mapTry) name() string {
	if t.object == nil {
		return "anonymous memory"
	}
	return t.object.name
}

func (t *mapTry) run(in *mapInput) (err error) {
	m, q := t.m, &t.q
	page := m.PageSize()
	m.begin(answers{})
	q.Machine = model.Machine{
		Page: page, EADR: m.config.EADR, NoValidate: m.config.NoSharedValidate,
		AddressSpace: addressSpace, Doubtful: doubtful, Memory: memory,
	}
	if err := t.findSource(in); err != nil || t.source == nil {
		return err
	}
	around := Around{Page: page, Align: q.Source.Align, Size: q.Source.Size}
	q.Offset = in.Offset.In(around)
	if want := model.SetOffset(q.Offset); want != model.OK {
		if got := model.Of(pmem2.NewConfig().SetOffset(q.Offset)); got != want {
			return fmt.Errorf("pmem2_config_set_offset: got %v, want %v", got, want)
		}
		return nil
	}
	around.Other = q.Offset
	q.Length = in.Length.In(around)
	in.settings(q)
	if in.Forced > 240 {
		q.Forced, q.IsForced = pmem2.Granularity(in.Forced%3), true
	}
	if in.Reserve%32 >= reserveDeleted {
		if err := t.makeReservation(in); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.endReservation()) }()
	}
	a := mapAnswers[int(in.Answer)%len(mapAnswers)]
	q.Machine.AnswerSync, q.Machine.AnswerPlain, q.Machine.AnswerMove = a.sync, a.plain, a.move
	before := m.held
	m.begin(a)
	cfg, err := t.config()
	if err != nil {
		return err
	}
	got, mapErr := pmem2.NewMap(cfg, t.source)
	m.answers = answers{}
	q.Machine.NoRoom = m.asked.plain == syscall.ENOMEM || m.asked.sync == syscall.ENOMEM
	t.want = model.Map(*q)
	if err := t.compare(got, mapErr); err != nil {
		return err
	}
	if got != nil {
		t.mapped = true
		if err := got.Delete(); err != nil {
			return err
		}
	}
	if m.held != before {
		left := m.held - before
		m.held = before
		return fmt.Errorf("%d bytes stay mapped", left)
	}
	return nil
}

// findSource makes the source of an input. It is nil if there is nothing more to do.
func (t *mapTry) findSource(in *mapInput) (err error) {
	m, q := t.m, &t.q
	page := m.PageSize()
	n := int(in.Object) % (len(m.objects) + 1)
	if n == len(m.objects) {
		q.Source = model.Source{Kind: model.Anonymous, Size: in.Size.In(Around{Page: page, Size: mib}), Align: page}
		t.source, err = pmem2.SourceFromAnon(q.Source.Size, pmem2.On(m))
		return err
	}
	t.object = m.objects[n]
	q.Source, q.Machine.Sync = t.object.source, t.object.sync
	if in.Access >= 224 || t.object.source.AppendOnly && in.Access >= 128 { // mostly for reading and writing
		q.Source.Access = model.Access(in.Access % 4)
	}
	if want := model.OpenSource(q.Source); want != model.OK {
		s, err := pmem2.SourceFromFD(t.object.fds[q.Source.Access], pmem2.On(m))
		if got := model.Of(err); got != want || s != nil {
			return fmt.Errorf("pmem2_source_from_fd: got %v, want %v", got, want)
		}
		return nil
	}
	if q.Source.Kind == model.File && !q.Source.AppendOnly {
		size := in.Size.In(Around{Page: page, Size: mib}) % (maxFile + 1)
		if size != t.object.size {
			if err := m.emulated.Ftruncate(t.object.sizer, int64(size)); err != nil {
				return fmt.Errorf("ftruncate to %d: %w", size, err)
			}
			t.object.size = size
		}
		q.Source.Size = size
	}
	t.source = t.object.made[q.Source.Access]
	return nil
}

// makeReservation makes the reservation that an input asks for.
func (t *mapTry) makeReservation(in *mapInput) (err error) {
	q := &t.q
	size, offset, at := in.room(q)
	if t.reserve, err = pmem2.NewVMReservation(0, size, pmem2.On(t.m)); err != nil {
		return fmt.Errorf("a reservation of %d bytes: %w", size, err)
	}
	q.Reservation = &model.Reservation{Addr: uint64(t.reserve.Address()), Size: size, Offset: offset}
	switch in.Reserve % 32 {
	case reserveTaken:
		page := t.m.PageSize()
		anon, err := pmem2.SourceFromAnon(page, pmem2.On(t.m))
		cfg := pmem2.NewConfig()
		for _, failure := range []error{
			err, cfg.SetRequiredStoreGranularity(pmem2.GranularityPage), cfg.SetVMReservation(t.reserve, at),
		} {
			if failure != nil {
				return errors.Join(failure, t.endReservation())
			}
		}
		if t.taken, err = pmem2.NewMap(cfg, anon); err != nil {
			return errors.Join(fmt.Errorf("a page at %d of %d bytes reserved: %w", at, size, err), t.endReservation())
		}
		q.Reservation.Taken = []model.Extent{{Start: q.Reservation.Addr + at, Size: page}}
	case reserveDeleted:
		q.Reservation.Deleted = true
		return t.reserve.Delete()
	}
	return nil
}

func (t *mapTry) endReservation() error {
	var err error
	if t.taken != nil {
		err = t.taken.Delete()
	}
	if !t.q.Reservation.Deleted {
		err = errors.Join(err, t.reserve.Delete())
	}
	if left := t.m.leftovers(); left != nil {
		err = errors.Join(err, fmt.Errorf("with the reservation gone: %w", left))
	}
	return err
}

// config is that of the request. The settings have been checked; none may be refused.
func (t *mapTry) config() (*pmem2.Config, error) {
	q, cfg := &t.q, pmem2.NewConfig()
	var errs [7]error
	if q.GranularitySet {
		errs[0] = cfg.SetRequiredStoreGranularity(q.Granularity)
	}
	if q.IsForced {
		errs[1] = cfg.ForceGranularity(q.Forced)
	}
	if q.Sharing != pmem2.Shared {
		errs[2] = cfg.SetSharing(q.Sharing)
	}
	if q.Prot != pmem2.ProtRead|pmem2.ProtWrite {
		errs[3] = cfg.SetProtection(q.Prot)
	}
	errs[4] = cfg.SetOffset(q.Offset)
	errs[5] = cfg.SetLength(q.Length)
	if q.Reservation != nil {
		errs[6] = cfg.SetVMReservation(t.reserve, q.Reservation.Offset)
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// compare holds what was got against what the model wants.
func (t *mapTry) compare(got *pmem2.Map, err error) error {
	want := &t.want
	if r := model.Of(err); r != want.Result {
		if got != nil {
			err = errors.Join(err, got.Delete())
		}
		return fmt.Errorf("got %v (%v), want %v", r, err, want.Result)
	}
	if want.Result != model.OK {
		if got != nil {
			return errors.New("a map is returned with an error")
		}
		return nil
	}
	addr := uint64(got.Address())
	switch asked := t.m.asked.last; {
	case got.Size() != want.Size:
		return t.differs(got, "size", got.Size(), want.Size)
	case len(got.Bytes()) != int(want.Size):
		return t.differs(got, "length of Bytes", uint64(len(got.Bytes())), want.Size)
	case got.StoreGranularity() != want.Granularity:
		return t.differs(got, "granularity", uint64(got.StoreGranularity()), uint64(want.Granularity))
	case want.Addr != 0 && addr != want.Addr:
		return t.differs(got, "address", addr, want.Addr)
	case addr%want.Align != 0:
		return t.differs(got, "address modulo its alignment", addr%want.Align, 0)
	case uint64(asked.addr) != addr:
		return t.differs(got, "address of what was mapped", uint64(asked.addr), addr)
	case asked.length != want.Length:
		return t.differs(got, "bytes that were mapped", asked.length, want.Length)
	case uint64(asked.offset) != want.Offset:
		return t.differs(got, "offset that was mapped", uint64(asked.offset), want.Offset)
	case asked.prot != protOf(t.q.Prot):
		return t.differs(got, "protection that was mapped", uint64(asked.prot), uint64(protOf(t.q.Prot)))
	case asked.flags&platform.MapType == platform.MapPrivate != (t.q.Sharing == pmem2.Private):
		return t.differs(got, "flags that were mapped", uint64(asked.flags), uint64(t.q.Sharing))
	}
	return nil
}

// differs is the error for a mapping that isn't as it should be; it deletes it.
func (t *mapTry) differs(m *pmem2.Map, what string, got, want uint64) error {
	return errors.Join(fmt.Errorf("%s: got %#x, want %#x", what, got, want), m.Delete())
}

// protOf is the protection in the kernel's bits.
func protOf(p pmem2.Prot) (prot int) {
	if p&pmem2.ProtRead != 0 {
		prot |= platform.ProtRead
	}
	if p&pmem2.ProtWrite != 0 {
		prot |= platform.ProtWrite
	}
	if p&pmem2.ProtExec != 0 {
		prot |= platform.ProtExec
	}
	return prot
}
