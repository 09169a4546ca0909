package survey

import (
	"errors"
	"fmt"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
)

// askLibrary asks what package pmem2 makes of each object: the same code on both sides, so
// that a difference is one between the machines that it asked.
func (s *session) askLibrary() {
	s.each(func(o *object) {
		flags := platform.ORdwr
		if o.closed {
			flags = platform.ORdonly
		}
		fd, err := s.k.Open(o.path, flags, 0)
		if err != nil {
			s.ask("open", "for the library", errnoText(err))
			return
		}
		defer func() { _ = s.k.Close(fd) }()
		src, err := pmem2.SourceFromFD(fd, pmem2.On(s.k))
		s.ask("SourceFromFD", "opened to be written", libraryText("ok", err))
		if err != nil {
			return
		}
		s.askSource(src)
		for _, required := range []platform.Granularity{platform.GranularityByte, platform.GranularityCacheLine, platform.GranularityPage} {
			for _, forced := range []*platform.Granularity{nil, new(platform.GranularityByte), new(platform.GranularityCacheLine), new(platform.GranularityPage)} {
				s.askMap(src, required, forced)
			}
		}
		type extent struct{ offset, length uint64 }
		asked := map[extent]bool{}
		for _, e := range []extent{
			{0, o.align}, {o.align, o.align}, {o.align / 2, o.align}, {0, o.align / 2}, {0, o.align + 1}, {1, 0},
			{o.size, 0}, {o.size, o.align}, {o.size - o.size%o.align, 2 * o.align}, {1 << 63, o.align}, {0, 1 << 63}, {^uint64(0), 0},
		} {
			if !asked[e] {
				asked[e] = true
				s.askRange(src, e.offset, e.length)
			}
		}
	}, deviceDAX, file, block, directory)
}

// askSource asks what a source tells of itself.
func (s *session) askSource(src *pmem2.Source) {
	for name, f := range map[string]func() (any, error){
		"Size":       func() (any, error) { return src.Size() },
		"Alignment":  func() (any, error) { return src.Alignment() },
		"DeviceID":   func() (any, error) { return src.DeviceID() },
		"DeviceUSC":  func() (any, error) { return src.DeviceUSC() },
		"NUMANode":   func() (any, error) { return src.NUMANode() },
		"bad blocks": func() (any, error) { return badBlocksOf(src) },
	} {
		value, err := f()
		s.ask(name, "of a source", libraryText(fmt.Sprint(value), err))
	}
}

// badBlocksOf are those that the library lists.
func badBlocksOf(src *pmem2.Source) (all []pmem2.BadBlock, err error) {
	ctx, err := pmem2.NewBadBlockContext(src)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ctx.Delete()) }()
	for {
		b, err := ctx.Next()
		if errors.Is(err, pmem2.ErrNoBadBlockFound) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
}

// askMap asks which granularity a map has, and what can be done with it.
func (s *session) askMap(src *pmem2.Source, required platform.Granularity, forced *platform.Granularity) {
	rule := fmt.Sprintf("required %v", required)
	if forced != nil {
		rule += fmt.Sprintf(", forced %v", *forced)
	}
	cfg := pmem2.NewConfig()
	err := cfg.SetRequiredStoreGranularity(required)
	if forced != nil {
		err = errors.Join(err, cfg.ForceGranularity(*forced))
	}
	if err != nil {
		s.fail("config: %w", err)
		return
	}
	m, err := pmem2.NewMap(cfg, src)
	if err != nil {
		s.ask("NewMap", rule, libraryText("", err))
		return
	}
	s.ask("NewMap", rule, fmt.Sprintf("%v, %d bytes", m.StoreGranularity(), m.Size()))
	s.ask("Persist", rule, libraryText("ok", m.Persist(m.Bytes()[:1])))
	s.ask("DeepFlush", rule, libraryText("ok", m.DeepFlush(m.Bytes()[:1])))
	s.ask("Delete", rule, libraryText("ok", m.Delete()))
}

// askRange asks what comes of an offset and a length, shared and private.
func (s *session) askRange(src *pmem2.Source, offset, length uint64) {
	for i, name := range []string{"shared", "private"} {
		sharing := []pmem2.Sharing{pmem2.Shared, pmem2.Private}[i]
		rule := fmt.Sprintf("offset %#x, length %#x, %s", offset, length, name)
		cfg := pmem2.NewConfig()
		err := errors.Join(cfg.SetRequiredStoreGranularity(platform.GranularityPage), cfg.SetSharing(sharing))
		if err != nil {
			s.fail("config: %w", err)
			return
		}
		if err := errors.Join(cfg.SetOffset(offset), cfg.SetLength(length)); err != nil {
			s.ask("SetOffset, SetLength", rule, libraryText("", err))
			continue
		}
		m, err := pmem2.NewMap(cfg, src)
		if err != nil {
			s.ask("NewMap", rule, libraryText("", err))
			continue
		}
		s.ask("NewMap", rule, fmt.Sprintf("%v, %d bytes", m.StoreGranularity(), m.Size()))
		s.ask("Delete", rule, libraryText("ok", m.Delete()))
	}
}

// libraryText is what a call answered: the name of its code or errno, or the value.
func libraryText(value string, err error) string {
	var e *pmem2.Error
	switch {
	case err == nil:
		return value
	case errors.As(err, &e) && e.Code != 0:
		return e.Code.Symbol()
	case pmem2.Errno(err) != 0:
		return errnoName(pmem2.Errno(err))
	}
	return "error: " + err.Error()
}
