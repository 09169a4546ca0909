package conformance

import (
	"errors"
	"log/slog"
	"syscall"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

func (l goLibrary) Sets() SetLibrary { return goSetLibrary(l) }

// goSetLibrary is package pmemset; its sources are files of the machine.
type goSetLibrary struct{ machine platform.Platform }

type goSetConfig struct{ *pmemset.Config }

type goSet struct{ *pmemset.Set }

type goSetSource struct{ *pmemset.Source }

type goMapConfig struct{ *pmemset.MapConfig }

type goPart struct{ *pmemset.Part }

type goPartMap struct{ *pmemset.PartMap }

func (goSetLibrary) NilSetConfig() SetConfig { return goSetConfig{} }
func (goSetLibrary) NilSet() Set             { return goSet{} }
func (goSetLibrary) NilSetSource() SetSource { return goSetSource{} }
func (goSetLibrary) NilMapConfig() MapConfig { return goMapConfig{} }
func (goSetLibrary) NilPart() Part           { return goPart{} }
func (goSetLibrary) NilPartMap() PartMap     { return goPartMap{} }

// What a case hands over may be a nil interface.

func ownSet(s Set) *pmemset.Set {
	own, _ := s.(goSet)
	return own.Set
}

func ownSetSource(s SetSource) *pmemset.Source {
	own, _ := s.(goSetSource)
	return own.Source
}

func ownMapConfig(c MapConfig) *pmemset.MapConfig {
	own, _ := c.(goMapConfig)
	return own.MapConfig
}

func ownPartMap(m PartMap) *pmemset.PartMap {
	own, _ := m.(goPartMap)
	return own.PartMap
}

func (goSetLibrary) NewSetConfig() (SetConfig, error) {
	return goSetConfig{pmemset.NewConfig()}, nil
}

func (goSetLibrary) NewSet(cfg SetConfig) (Set, error) {
	own, _ := cfg.(goSetConfig)
	set, err := pmemset.New(own.Config)
	if set == nil {
		return nil, err
	}
	return goSet{set}, err
}

func (l goSetLibrary) SourceFromFile(path string) (SetSource, error) {
	return setSourceOrNil(pmemset.SourceFromFile(path, pmemset.On(l.machine)))
}

func (l goSetLibrary) XSourceFromFile(path string, flags pmemset.SourceFlags) (SetSource, error) {
	return setSourceOrNil(pmemset.XSourceFromFile(path, flags, pmemset.On(l.machine)))
}

func (l goSetLibrary) SourceFromTemporary(dir string) (SetSource, error) {
	return setSourceOrNil(pmemset.SourceFromTemporary(dir, pmemset.On(l.machine)))
}

func (goSetLibrary) SourceFromPMem2(src Source) (SetSource, error) {
	own, _ := src.(*pmem2.Source)
	return setSourceOrNil(pmemset.SourceFromPMem2(own))
}

// setSourceOrNil keeps a nil *pmemset.Source from becoming an interface that isn't nil.
func setSourceOrNil(src *pmemset.Source, err error) (SetSource, error) {
	if src == nil {
		return nil, err
	}
	return goSetSource{src}, err
}

func (goSetLibrary) NewMapConfig(set Set) (MapConfig, error) {
	return goMapConfig{pmemset.NewMapConfig(ownSet(set))}, nil
}

func (goSetLibrary) Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error) {
	return pmemset.Map(ownSetSource(src), ownMapConfig(cfg))
}

func (goSetLibrary) NewPart(set Set, src SetSource, offset, length uint64) (Part, error) {
	part, err := pmemset.NewPart(ownSet(set), ownSetSource(src), offset, length)
	if part == nil {
		return nil, err
	}
	return goPart{part}, err
}

func (l goSetLibrary) Cause(err error) string {
	var cause *pmem2.Error
	if errors.As(err, &cause) {
		return goLibrary(l).Outcome(cause)
	}
	var code pmem2.Code // where libpmem2 didn't have to be asked
	if errors.As(err, &code) {
		return code.Symbol()
	}
	return ""
}

func (goSetLibrary) Errno(err error) syscall.Errno { return pmemset.Errno(err) }

func (goSetLibrary) Perror(err error, format string, args ...any) {
	pmemset.Perror(err, format, args...)
}

func (goSetLibrary) SetLogger(l *slog.Logger) { pmemset.SetLogger(l) }

func (c goSetConfig) SetReservation(r Reservation) error {
	own, _ := r.(goReservation)
	return c.Config.SetReservation(own.VMReservation)
}

func (c goSetConfig) SetEventCallback(callback func(e SetEvent) error) error {
	if callback == nil {
		return c.Config.SetEventCallback(nil)
	}
	return c.Config.SetEventCallback(func(s *pmemset.Set, e *pmemset.Event) error {
		return callback(setEvent(s, e))
	})
}

func setEvent(s *pmemset.Set, e *pmemset.Event) SetEvent {
	event := SetEvent{
		Set: goSet{s}, Type: e.Type,
		Dst: e.Dst, Src: e.Src, Flags: e.Flags, Value: e.Value, Addr: e.Addr, Len: e.Len,
		Added: e.Added, SDS: e.SDS, BadBlock: e.BadBlock,
	}
	if e.PMem2Source != nil {
		event.PMem2Source = e.PMem2Source
	}
	if e.Source != nil {
		event.Source = goSetSource{e.Source}
	}
	return event
}

func (s goSet) Map(src SetSource, cfg MapConfig) (pmemset.PartDescriptor, error) {
	return s.Set.Map(ownSetSource(src), ownMapConfig(cfg))
}

func (s goSet) FirstPartMap() PartMap { return partMapOrNil(s.Set.FirstPartMap()) }

func (s goSet) NextPartMap(m PartMap) PartMap {
	return partMapOrNil(s.Set.NextPartMap(ownPartMap(m)))
}

func (s goSet) PartMapByAddress(addr uintptr) (PartMap, error) {
	m, err := s.Set.PartMapByAddress(addr)
	return partMapOrNil(m), err
}

func (s goSet) RemovePartMap(m PartMap) error { return s.Set.RemovePartMap(ownPartMap(m)) }

func (m goPartMap) Same(other PartMap) bool { return m.PartMap.Same(ownPartMap(other)) }

func partMapOrNil(m *pmemset.PartMap) PartMap {
	if m == nil {
		return nil
	}
	return goPartMap{m}
}
