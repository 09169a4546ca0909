package pmemset

import "pmemlab/pmem2/platform"

// Option says where a source lives.
type Option func(*options)

type options struct{ machine platform.Platform }

// On puts a source on the machine p instead of the one that the process runs on: an
// emulated machine, or a wrapper that injects faults. Paths are those of p.
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
