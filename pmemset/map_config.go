package pmemset

import (
	"math"
	"sync/atomic"
)

// MapConfig says which part of a source to map: pmemset_map_config_new(3). It may
// serve any number of mappings, which take its values at the time of the call.
type MapConfig struct {
	set *Set
	now atomic.Pointer[mapSettings] // never changed, only replaced; nil: the defaults
}

// mapSettings are the values of a MapConfig; offset and length in bytes.
type mapSettings struct {
	set            *Set
	offset, length uint64
	deleted        bool
}

// NewMapConfig is pmemset_map_config_new(3). set is what the function Map maps into;
// the method Set.Map doesn't look at it, and nil will do. It maps from the start of
// the source, all of it. It needs no Delete.
func NewMapConfig(set *Set) *MapConfig {
	called("NewMapConfig")
	return &MapConfig{set: set}
}

// Delete is pmemset_map_config_delete(3). It returns nil always: on nil and on a
// config that has been deleted, too. What was mapped with it stays as it is; the
// config itself can't be used any more.
func (c *MapConfig) Delete() error {
	called("MapConfig.Delete")
	if c != nil {
		c.now.Store(&mapSettings{deleted: true})
	}
	return nil
}

// snapshot returns the settings of a live config.
func (c *MapConfig) snapshot(op string) (mapSettings, error) {
	_, s, err := c.load(op)
	return s, err
}

func (c *MapConfig) load(op string) (*mapSettings, mapSettings, error) {
	if c == nil {
		return nil, mapSettings{}, invalid(op, "the map config is nil")
	}
	s := c.now.Load()
	switch {
	case s == nil:
		return nil, mapSettings{set: c.set}, nil
	case s.deleted:
		return nil, mapSettings{}, invalid(op, "the map config has been deleted")
	}
	return s, *s, nil
}

// change changes the settings of a live config, unless edit fails.
func (c *MapConfig) change(op string, edit func(*mapSettings) error) error {
	called(op)
	for {
		old, changed, err := c.load(op)
		if err != nil {
			return err
		}
		if err := edit(&changed); err != nil {
			return err
		}
		if c.now.CompareAndSwap(old, &changed) {
			return nil
		}
	}
}

// SetOffset is pmemset_map_config_set_offset(3): where in the source the mapping
// starts, in bytes. Mapping wants a multiple of the source's alignment. The default
// is 0.
//
// Errors: ErrOffsetOutOfRange if offset is above 2^63-1, and the setting stays as it
// was; EINVAL on a nil or deleted config.
func (c *MapConfig) SetOffset(offset uint64) error {
	const op = "SetOffset"
	return c.change(op, func(s *mapSettings) error {
		if offset > math.MaxInt64 {
			return fail(op, ErrOffsetOutOfRange, nil, "offset %d is above %d", offset, int64(math.MaxInt64))
		}
		s.offset = offset
		return nil
	})
}

// SetLength is pmemset_map_config_set_length(3): how many bytes to map. Any value is
// taken; mapping wants a multiple of the source's alignment. 0, the default, is
// everything from the offset to the end of the source; see the function Map for sources
// that grow. It fails only on a nil or deleted config (EINVAL).
func (c *MapConfig) SetLength(length uint64) error {
	return c.change("SetLength", func(s *mapSettings) error {
		s.length = length
		return nil
	})
}
