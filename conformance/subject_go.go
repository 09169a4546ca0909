package conformance

import (
	"errors"
	"reflect"
	"strconv"
	"syscall"
	"unsafe"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// Go is the subject that this project is about: packages pmem2 and pmemset.
var Go Subject = goSubject{}

type goSubject struct{}

func (goSubject) Name() string                   { return "go" }
func (goSubject) On(p platform.Platform) Library { return goLibrary{p} }

type goLibrary struct{ machine platform.Platform }

type goConfig struct{ *pmem2.Config }

type goMap struct{ *pmem2.Map }

type goReservation struct{ *pmem2.VMReservation }

func (goLibrary) NewConfig() (PMem2Config, error) { return goConfig{pmem2.NewConfig()}, nil }
func (goLibrary) Perror(err error, format string, args ...any) {
	pmem2.Perror(err, format, args...)
}

func (goLibrary) NilConfig() PMem2Config  { return goConfig{} }
func (goLibrary) NilSource() Source       { return (*pmem2.Source)(nil) }
func (goLibrary) NilMap() Map             { return goMap{} }
func (goLibrary) NilBadBlocks() BadBlocks { return (*pmem2.BadBlockContext)(nil) }

func (goLibrary) NewBadBlockContext(src Source) (BadBlocks, error) {
	return orNil[BadBlocks](pmem2.NewBadBlockContext(src.(*pmem2.Source)))
}

// SameFunction compares the closures, which == does not do in Go.
func (goLibrary) SameFunction(f, g any) bool {
	return reflect.TypeOf(f) == reflect.TypeOf(g) && closure(f) == closure(g)
}

// closure is what a func value points to; it stands in the interface itself.
func closure(f any) unsafe.Pointer { return (*[2]unsafe.Pointer)(unsafe.Pointer(&f))[1] }

func (goLibrary) SharesFunctions(a, b Map) bool { return a.(goMap).SharesOps(b.(goMap).Map) }

func (l goLibrary) SourceFromFD(fd int) (Source, error) {
	return orNil[Source](pmem2.SourceFromFD(fd, pmem2.On(l.machine)))
}

func (l goLibrary) SourceFromAnon(size uint64) (Source, error) {
	return orNil[Source](pmem2.SourceFromAnon(size, pmem2.On(l.machine)))
}

func (goLibrary) NewMap(cfg PMem2Config, src Source) (Map, error) {
	return mapOrNil(pmem2.NewMap(cfg.(goConfig).Config, src.(*pmem2.Source)))
}

func (goLibrary) MapFromExisting(src Source, addr uintptr, n uint64, g pmem2.Granularity) (Map, error) {
	return mapOrNil(pmem2.MapFromExisting(src.(*pmem2.Source), addr, n, g))
}

func (l goLibrary) NewVMReservation(addr uintptr, size uint64) (Reservation, error) {
	r, err := pmem2.NewVMReservation(addr, size, pmem2.On(l.machine))
	if r == nil {
		return nil, err
	}
	return goReservation{r}, err
}

func (goLibrary) Outcome(err error) string {
	var setCode pmemset.Code
	var code pmem2.Code
	var errno syscall.Errno
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &setCode):
		return setCode.Symbol()
	case errors.As(err, &code):
		return code.Symbol()
	case errors.As(err, &errno):
		if name := errnoName(errno); name != "" {
			return "-" + name
		}
		return "-" + strconv.Itoa(int(errno))
	case errors.Is(err, ErrCallback):
		return "(callback)"
	}
	return "no code: " + err.Error()
}

func (c goConfig) SetVMReservation(r Reservation, offset uint64) error {
	if r == nil {
		return c.Config.SetVMReservation(nil, offset)
	}
	return c.Config.SetVMReservation(r.(goReservation).VMReservation, offset)
}

func (r goReservation) MapFind(offset, length uint64) (Map, error) {
	return mapOrNil(r.VMReservation.MapFind(offset, length))
}
func (r goReservation) MapFindFirst() (Map, error) { return mapOrNil(r.VMReservation.MapFindFirst()) }
func (r goReservation) MapFindLast() (Map, error)  { return mapOrNil(r.VMReservation.MapFindLast()) }

func (r goReservation) MapFindNext(m Map) (Map, error) {
	return mapOrNil(r.VMReservation.MapFindNext(m.(goMap).Map))
}

func (r goReservation) MapFindPrev(m Map) (Map, error) {
	return mapOrNil(r.VMReservation.MapFindPrev(m.(goMap).Map))
}

// mapOrNil keeps a nil *pmem2.Map from becoming an interface that isn't nil.
func mapOrNil(m *pmem2.Map, err error) (Map, error) {
	if m == nil {
		return nil, err
	}
	return goMap{m}, err
}

func orNil[I any, P interface {
	comparable
}](p P, err error) (I, error) {
	var none I
	var zero P
	if p == zero {
		return none, err
	}
	return any(p).(I), err
}
