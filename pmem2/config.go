package pmem2

import (
	"math"
	"sync/atomic"

	"pmemlab/pmem2/platform"
)

// Sharing says who sees the stores to a mapping.
type Sharing int

const (
	// Shared: stores reach the source and every other mapping of it.
	Shared Sharing = iota
	// Private: stores stay in the mapping.
	Private
)

// Prot is the memory protection of a mapping: ProtNone or any of the others
// joined by "or". The values are those of the C library.
type Prot uint32

// The protection flags of pmem2_config_set_protection(3).
const (
	ProtNone  Prot = 0
	ProtExec  Prot = 1 << 29
	ProtRead  Prot = 1 << 30
	ProtWrite Prot = 1 << 31
)

// Config is what NewMap needs besides the source: pmem2_config_new(3). Only the
// granularity must be set. A config may serve any number of maps; NewMap takes
// its values at the time of the call.
type Config struct {
	now atomic.Pointer[settings] // never changed, only replaced; nil: the defaults
}

// settings are the values of a Config. The zero value holds the defaults: from
// the start of the source, all of it, shared, read and write, anywhere.
type settings struct {
	offset, length  uint64
	granularity     Granularity
	granularitySet  bool
	forced          Granularity
	forcedSet       bool
	sharing         Sharing
	protection      Prot
	protectionSet   bool
	reservation     *VMReservation
	reservationFrom uint64
	deleted         bool
}

// defaults are the settings of a new Config.
var defaults settings

func (s *settings) prot() Prot {
	if s.protectionSet {
		return s.protection
	}
	return ProtRead | ProtWrite
}

// NewConfig is pmem2_config_new(3). It holds the default of every setting; the
// granularity has none. It needs no Delete.
func NewConfig() *Config {
	called("NewConfig")
	return new(Config)
}

// Delete is pmem2_config_delete(3). It returns nil always: on nil and on a
// config that has been deleted, too. Maps made with the config stay as they are;
// the config itself can't be used any more.
func (c *Config) Delete() error {
	if c != nil {
		c.now.Store(&settings{deleted: true})
	}
	return nil
}

// set changes the settings of a live config.
func (c *Config) set(op string, change func(*settings)) error {
	called(op)
	if c == nil {
		return invalid(op, "the config is nil")
	}
	for {
		old := c.now.Load()
		changed := defaults
		if old != nil {
			changed = *old
		}
		if changed.deleted {
			return invalid(op, "the config has been deleted")
		}
		if change(&changed); c.now.CompareAndSwap(old, &changed) {
			return nil
		}
	}
}

// snapshot returns the settings of a live config, which nothing changes.
func (c *Config) snapshot(op string) (*settings, error) {
	if c == nil {
		return nil, invalid(op, "the config is nil")
	}
	s := c.now.Load()
	switch {
	case s == nil:
		return &defaults, nil
	case s.deleted:
		return nil, invalid(op, "the config has been deleted")
	}
	return s, nil
}

// SetLength is pmem2_config_set_length(3): how many bytes to map. Any value is
// taken; NewMap wants a multiple of the source's alignment. 0, the default, is
// everything from the offset to the end of the source. It fails only on a nil or
// deleted config (EINVAL).
func (c *Config) SetLength(length uint64) error {
	return c.set("SetLength", func(s *settings) { s.length = length })
}

// SetOffset is pmem2_config_set_offset(3): where in the source the mapping
// starts, in bytes. NewMap wants a multiple of the source's alignment. The
// default is 0.
//
// Errors: ErrOffsetOutOfRange if offset is above 2^63-1; EINVAL on a nil or
// deleted config.
func (c *Config) SetOffset(offset uint64) error {
	if offset > math.MaxInt64 {
		return fail("SetOffset", ErrOffsetOutOfRange, "offset %d is above %d", offset, int64(math.MaxInt64))
	}
	return c.set("SetOffset", func(s *settings) { s.offset = offset })
}

// SetProtection is pmem2_config_set_protection(3): the protection of the
// mapping, which the open mode of the file must allow. The default is
// ProtRead|ProtWrite.
//
// Errors: ErrInvalidProtFlag if a bit other than ProtRead, ProtWrite, ProtExec is
// set, and the setting stays as it was; EINVAL on a nil or deleted config.
func (c *Config) SetProtection(prot Prot) error {
	if bad := prot &^ (ProtRead | ProtWrite | ProtExec); bad != 0 {
		return fail("SetProtection", ErrInvalidProtFlag,
			"protection %#x has bits %#x besides those of ProtRead, ProtWrite and ProtExec", uint32(prot), uint32(bad))
	}
	return c.set("SetProtection", func(s *settings) { s.protection, s.protectionSet = prot, true })
}

// SetRequiredStoreGranularity is pmem2_config_set_required_store_granularity(3):
// the coarsest granularity that the program can live with.
//
// Errors: ErrGranularityNotSupported if g is none of the three, and the setting
// stays as it was; EINVAL on a nil or deleted config.
func (c *Config) SetRequiredStoreGranularity(g Granularity) error {
	if !g.Valid() {
		return fail("SetRequiredStoreGranularity", ErrGranularityNotSupported, "granularity %d is none of 0, 1, 2", int(g))
	}
	return c.set("SetRequiredStoreGranularity", func(s *settings) { s.granularity, s.granularitySet = g, true })
}

// ForceGranularity does for maps made with this config what the environment
// variable PMEM2_FORCE_GRANULARITY does for all, and outranks it: the
// granularity isn't detected but taken to be g. Private and anonymous mappings
// stay at GranularityByte. The C library has no such function.
//
// Errors: ErrGranularityNotSupported if g is none of the three, and the setting
// stays as it was; EINVAL on a nil or deleted config.
func (c *Config) ForceGranularity(g Granularity) error {
	if !g.Valid() {
		return fail("ForceGranularity", ErrGranularityNotSupported, "granularity %d is none of 0, 1, 2", int(g))
	}
	return c.set("ForceGranularity", func(s *settings) { s.forced, s.forcedSet = g, true })
}

// SetSharing is pmem2_config_set_sharing(3). The default is Shared.
//
// Errors: ErrInvalidSharingValue if the value is neither Shared nor Private, and
// the setting stays as it was; EINVAL on a nil or deleted config.
func (c *Config) SetSharing(sharing Sharing) error {
	if sharing != Shared && sharing != Private {
		return fail("SetSharing", ErrInvalidSharingValue, "sharing %d is neither Shared (0) nor Private (1)", int(sharing))
	}
	return c.set("SetSharing", func(s *settings) { s.sharing = sharing })
}

// SetVMReservation is pmem2_config_set_vm_reservation(3): map into the
// reservation, offset bytes from its start. nil takes the setting back. Whether
// the mapping fits is for NewMap to say. It fails only on a nil or deleted config
// (EINVAL).
func (c *Config) SetVMReservation(r *VMReservation, offset uint64) error {
	return c.set("SetVMReservation", func(s *settings) { s.reservation, s.reservationFrom = r, offset })
}

func (p Prot) flags() int {
	flags := platform.ProtNone
	if p&ProtRead != 0 {
		flags |= platform.ProtRead
	}
	if p&ProtWrite != 0 {
		flags |= platform.ProtWrite
	}
	if p&ProtExec != 0 {
		flags |= platform.ProtExec
	}
	return flags
}
