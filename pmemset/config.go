package pmemset

import (
	"sync/atomic"

	"pmemlab/pmem2"
)

// Config is what New makes a set from: pmemset_config_new(3). Only the granularity
// must be set. A config may serve any number of sets; New takes its values at the
// time of the call.
type Config struct {
	now atomic.Pointer[settings] // never changed, only replaced; nil: the defaults
}

// settings are the values of a Config.
type settings struct {
	granularity    pmem2.Granularity
	granularitySet bool
	reservation    *pmem2.VMReservation
	callback       func(*Set, *Event) error
	acceptable     PartState
	deleted        bool
}

// defaults are the settings of a new Config.
var defaults = settings{acceptable: defaultAcceptable}

// NewConfig is pmemset_config_new(3). It holds the default of every setting; the
// granularity has none. It needs no Delete.
func NewConfig() *Config {
	called("NewConfig")
	return new(Config)
}

// Delete is pmemset_config_delete(3). It returns nil always: on nil and on a config
// that has been deleted, too. Sets made with the config stay as they are; the config
// itself can't be used any more.
func (c *Config) Delete() error {
	called("Config.Delete")
	if c != nil {
		c.now.Store(&settings{deleted: true})
	}
	return nil
}

// set changes the settings of a live config, unless change fails.
func (c *Config) set(op string, change func(*settings) error) error {
	called(op)
	for {
		old, err := c.snapshot(op)
		if err != nil {
			return err
		}
		changed := *old
		if err := change(&changed); err != nil {
			return err
		}
		if old == &defaults {
			old = nil
		}
		if c.now.CompareAndSwap(old, &changed) {
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

// SetRequiredStoreGranularity is
// pmemset_config_set_required_store_granularity(3): the coarsest granularity that
// the program can live with. All parts of a set have the same; Set.StoreGranularity
// tells which.
//
// Errors: ErrGranularityNotSupported if g is none of the three, and the setting
// stays as it was; EINVAL on a nil or deleted config.
func (c *Config) SetRequiredStoreGranularity(g pmem2.Granularity) error {
	const op = "SetRequiredStoreGranularity"
	return c.set(op, func(s *settings) error {
		if !g.Valid() {
			return fail(op, ErrGranularityNotSupported, nil, "granularity %d is none of 0, 1, 2", int(g))
		}
		s.granularity, s.granularitySet = g, true
		return nil
	})
}

// SetReservation is pmemset_config_set_reservation(3): all parts of a set are mapped
// into r, which stays the caller's and must live for as long as the set. nil takes
// the setting back: each part map then gets a reservation of the library's own. It
// fails only on a nil or deleted config (EINVAL).
func (c *Config) SetReservation(r *pmem2.VMReservation) error {
	return c.set("SetReservation", func(s *settings) error {
		s.reservation = r
		return nil
	})
}

// SetEventCallback is pmemset_config_set_event_callback(3): the function that a set
// calls on each event, in the goroutine whose call the event belongs to. The last
// SetEventCallback counts, and nil switches events off. What C hands over as arg, the
// function closes over.
//
// The error that the callback returns counts for EventBadBlocksCleared alone, where
// mapping ends with it; elsewhere it is ignored. SetEventCallback itself fails only on
// a nil or deleted config (EINVAL).
func (c *Config) SetEventCallback(callback func(*Set, *Event) error) error {
	return c.set("SetEventCallback", func(s *settings) error {
		s.callback = callback
		return nil
	})
}

// SetAcceptableStates is pmemset_config_set_acceptable_states(3): the states, joined
// by "or", in which a source with an SDS may be mapped; 0 is none. The default is
// PartStateOK|PartStateOKButAlreadyOpen. Sources without an SDS don't have a state.
//
// Errors: ErrInvalidPartStates if a bit is set that is no state, and the setting stays
// as it was; EINVAL on a nil or deleted config.
func (c *Config) SetAcceptableStates(states PartState) error {
	const op = "SetAcceptableStates"
	return c.set(op, func(s *settings) error {
		if bad := states &^ partStates; bad != 0 {
			return fail(op, ErrInvalidPartStates, nil, "states %#x have bits %#x besides those of the five states, %#x",
				uint64(states), uint64(bad), uint64(partStates))
		}
		s.acceptable = states
		return nil
	})
}
