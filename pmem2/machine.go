package pmem2

import "pmemlab/pmem2/platform"

// Option says where a source or a reservation lives.
type Option func(*options)

type options struct{ machine platform.Platform }

// On puts a source or a reservation on the machine p instead of the one that the
// process runs on: an emulated machine, or a wrapper that injects faults.
func On(p platform.Platform) Option {
	return func(o *options) { o.machine = p }
}

func machineOf(opts []Option) platform.Platform {
	o := options{}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.machine == nil {
		return platform.Host()
	}
	return o.machine
}

// Granularity is the unit in which stores become durable, as libpmem2(7) has it.
// A smaller value is a finer granularity.
type Granularity = platform.Granularity

// The granularities: what a program requires of a mapping, and what the mapping
// turned out to have.
const (
	GranularityByte      = platform.GranularityByte
	GranularityCacheLine = platform.GranularityCacheLine
	GranularityPage      = platform.GranularityPage
)

// Platform is the machine that the source lives on; nil for a nil source.
func (s *Source) Platform() platform.Platform {
	if s == nil {
		return nil
	}
	return s.machine
}
