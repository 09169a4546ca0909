package selftest

import (
	"fmt"
	"math"
	"os"
	"strings"

	"pmemlab/conformance"
	"pmemlab/pmem2"
)

// with is a library whose new configs are set up by more.
func with(more func(c conformance.PMem2Config)) func() *faults {
	return otherwise(func(f *faults) {
		f.newConfig = func(l *library) (conformance.PMem2Config, error) {
			c, err := l.Library.NewConfig()
			if err == nil {
				more(c)
			}
			return c, err
		}
	})
}

// configFaults are those of the pages pmem2_config_*, of errors and their texts.
func configFaults() []fault {
	const page = "pmem2_config_new/"
	const length, offset = "pmem2_config_set_length/", "pmem2_config_set_offset/"
	const protection, sharing = "pmem2_config_set_protection/", "pmem2_config_set_sharing/"
	const granularity, reservation = "pmem2_config_set_required_store_granularity/", "pmem2_config_set_vm_reservation/"
	const message, perror = "pmem2_errormsg/", "pmem2_perror/"
	return []fault{
		{"config: PRIVATE by default", page + "defaults-filled-in", false, with(func(c conformance.PMem2Config) { _ = c.SetSharing(pmem2.Private) })},
		{"config: PAGE by default", page + "granularity-left-unset", false, with(func(c conformance.PMem2Config) { _ = c.SetRequiredStoreGranularity(pmem2.GranularityPage) })},
		{"config: always the same", page + "creates-config", false, otherwise(func(f *faults) {
			f.newConfig = func(l *library) (conformance.PMem2Config, error) {
				c, err := l.Library.NewConfig()
				first, _ := f.objects.LoadOrStore("the config", c)
				return first.(conformance.PMem2Config), err
			}
		})},
		{"config: usable when deleted", "pmem2_config_delete/frees-and-nulls", false, otherwise(func(f *faults) {
			f.deleteConfig = func(*config) error { return nil }
		})},
		{"length: ignored", length + "sets-mapping-length", false, otherwise(func(f *faults) {
			f.setLength = func(*config, uint64) error { return nil }
		})},
		{"length: refused above 2^63-1", length + "always-zero", false, otherwise(func(f *faults) {
			f.setLength = func(c *config, n uint64) error {
				if n > math.MaxInt64 {
					return pmem2.ErrLengthOutOfRange
				}
				return c.PMem2Config.SetLength(n)
			}
		})},
		{"length: a page by default", length + "default-is-file-size", false, with(func(c conformance.PMem2Config) { _ = c.SetLength(4096) })},
		{"length: rounded up to pages", length + "multiple-of-source-alignment", false, otherwise(func(f *faults) {
			f.setLength = func(c *config, n uint64) error { return c.PMem2Config.SetLength((n + 4095) &^ 4095) }
		})},
		{"offset: 2^63 will do", offset + "PMEM2_E_OFFSET_OUT_OF_RANGE#1", false, otherwise(func(f *faults) {
			f.setOffset = func(c *config, n uint64) error {
				if n == 1<<63 {
					return nil
				}
				return c.PMem2Config.SetOffset(n)
			}
		})},
		{"offset: a page more", offset + "sets-start-in-source", false, otherwise(func(f *faults) {
			f.setOffset = func(c *config, n uint64) error { return c.PMem2Config.SetOffset(n ^ 4096) }
		})},
		{"offset: a page by default", offset + "default-zero", false, with(func(c conformance.PMem2Config) { _ = c.SetOffset(4096) })},
		{"offset: rounded down to pages", offset + "multiple-of-source-alignment", false, otherwise(func(f *faults) {
			f.setOffset = func(c *config, n uint64) error { return c.PMem2Config.SetOffset(n &^ 4095) }
		})},
		{"protection: unknown bits are dropped", protection + "PMEM2_E_INVALID_PROT_FLAG#1", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error {
				return c.PMem2Config.SetProtection(p & (pmem2.ProtRead | pmem2.ProtWrite | pmem2.ProtExec))
			}
		})},
		{"protection: ignored", protection + "sets-mapping-protection", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error { return nil }
		})},
		{"protection: READ by default", protection + "default-read-write", false, with(func(c conformance.PMem2Config) { _ = c.SetProtection(pmem2.ProtRead) })},
		{"protection: without EXEC", protection + "exec", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error { return c.PMem2Config.SetProtection(p &^ pmem2.ProtExec) }
		})},
		{"protection: NONE is READ", protection + "none", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error {
				if p == pmem2.ProtNone {
					p = pmem2.ProtRead
				}
				return c.PMem2Config.SetProtection(p)
			}
		})},
		{"protection: what is refused is set all the same", protection + "PMEM2_E_INVALID_PROT_FLAG#1", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error {
				err := c.PMem2Config.SetProtection(p)
				if err != nil {
					_ = c.PMem2Config.SetProtection(pmem2.ProtRead)
				}
				return err
			}
		})},
		{"granularity: 3 is PAGE", granularity + "PMEM2_E_GRANULARITY_NOT_SUPPORTED#1", false, otherwise(func(f *faults) {
			f.setGranularity = func(c *config, g pmem2.Granularity) error {
				return c.PMem2Config.SetRequiredStoreGranularity(min(g, pmem2.GranularityPage))
			}
		})},
		{"granularity: any storage will do", granularity + "sets-maximum", false, otherwise(func(f *faults) {
			f.setGranularity = func(c *config, g pmem2.Granularity) error {
				if g >= 0 && g < pmem2.GranularityPage {
					g = pmem2.GranularityPage
				}
				return c.PMem2Config.SetRequiredStoreGranularity(g)
			}
		})},
		{"sharing: PRIVATE is SHARED", sharing + "private-leaves-memory-alone", false, otherwise(func(f *faults) {
			f.setSharing = func(c *config, s pmem2.Sharing) error {
				if s == pmem2.Private {
					s = pmem2.Shared
				}
				return c.PMem2Config.SetSharing(s)
			}
		})},
		{"sharing: SHARED is PRIVATE", sharing + "shared-writes-reach-memory", false, otherwise(func(f *faults) {
			f.setSharing = func(c *config, s pmem2.Sharing) error {
				if s == pmem2.Shared {
					s = pmem2.Private
				}
				return c.PMem2Config.SetSharing(s)
			}
		})},
		{"sharing: any other value is SHARED", sharing + "PMEM2_E_INVALID_SHARING_VALUE#1", false, answers("Config.SetSharing", pmem2.ErrInvalidSharingValue, nil)},
		{"reservation of a config: ignored", reservation + "places-mapping", false, otherwise(func(f *faults) {
			f.setVMReservation = func(*config, conformance.Reservation, uint64) error { return nil }
		})},
		{"reservation of a config: its offset is ignored", reservation + "offset-in-reservation", false, otherwise(func(f *faults) {
			f.setVMReservation = func(c *config, r conformance.Reservation, _ uint64) error {
				return c.PMem2Config.SetVMReservation(bare(r), 0)
			}
		})},
		{"reservation of a config: an unaligned offset is refused by the setter", reservation + "always-zero", false, otherwise(func(f *faults) {
			f.setVMReservation = func(c *config, r conformance.Reservation, offset uint64) error {
				if offset%4096 != 0 {
					return pmem2.ErrOffsetUnaligned
				}
				return c.PMem2Config.SetVMReservation(bare(r), offset)
			}
		})},

		{"errormsg: some failures set none", message + "message-after-error", false, otherwise(func(f *faults) {
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				src, err := l.Library.SourceFromFD(fd)
				if fd < 0 {
					err = silent{err}
				}
				return src, err
			}
		})},
		{"errormsg: after some failures that of the one before", message + "message-after-error", true, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error { return f.static(c.PMem2Config.SetProtection(p)) }
			f.sourceFromFD = func(l *library, fd int) (conformance.Source, error) {
				src, err := l.Library.SourceFromFD(fd)
				if fd < 0 {
					err = latest{err, f}
				}
				return src, err
			}
		})},
		{"errormsg: a later failure changes an earlier one's", message + "(text)#1", false, otherwise(func(f *faults) {
			f.setOffset = func(c *config, n uint64) error { return f.static(c.PMem2Config.SetOffset(n)) }
			f.setProtection = func(c *config, p pmem2.Prot) error { return f.static(c.PMem2Config.SetProtection(p)) }
		})},
		{"errormsg: one buffer for all threads", message + "thread-local", false, otherwise(func(f *faults) {
			f.setProtection = func(c *config, p pmem2.Prot) error { return f.static(c.PMem2Config.SetProtection(p)) }
		})},
		{"perror: to standard output", perror + "writes-to-stderr", false, otherwise(func(f *faults) {
			f.perror = func(_ *library, err error, format string, args ...any) {
				fmt.Printf(format+": %v\n", append(args, err)...)
			}
		})},
		{"perror: the format as it is", perror + "printf-format", false, otherwise(func(f *faults) {
			f.perror = func(_ *library, err error, format string, _ ...any) { fmt.Fprintf(os.Stderr, "%s: %v\n", format, err) }
		})},
		{"perror: no colon", perror + "colon-blank-message-newline", false, otherwise(func(f *faults) {
			f.perror = func(_ *library, err error, format string, args ...any) {
				fmt.Fprintln(os.Stderr, strings.TrimSpace(fmt.Sprintf(format, args...)), err)
			}
		})},
	}
}

// silent is an error without a text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// static is an error whose text is that of the latest.
func (f *faults) static(err error) error {
	if err == nil {
		return nil
	}
	f.objects.Store("errormsg", err.Error())
	return latest{err, f}
}

type latest struct {
	error
	f *faults
}

func (l latest) Error() string {
	text, _ := l.f.objects.Load("errormsg")
	told, _ := text.(string)
	return told
}

func (l latest) Unwrap() error { return l.error }
