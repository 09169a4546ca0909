// Package match holds Gomega matchers for programs on an emulated machine: what is durable,
// what the machine's checker has found, and what [emu.Explore] has.
//
//	Expect(pmem.Bytes()[:8]).To(match.BeDurableOn(m))
//	Expect(m).To(match.HaveNoFindings())
//	Expect(m).To(match.HaveFinding(check.StoreNeverFlushed))
//	Expect(x).To(match.HaveNoCrashFindings(match.SavedTo("reports/findings")))
//
// Findings count if they are proven; with [Possible], those too that a store which nobody saw
// could explain. What counts is fixed when the assertion is made: its message tells that, and
// how many findings didn't count.
package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"pmemlab/emu"
	"pmemlab/emu/check"
)

// An Option changes what a matcher counts or does.
type Option func(*options)

type options struct {
	possible bool
	dir      string
}

// Possible counts the possible findings too. [emu.Explore] finds these only if its options
// have Possible.
func Possible() Option { return func(o *options) { o.possible = true } }

// SavedTo writes the findings to a folder if the assertion fails, and its message says where:
// the page to look at, and of crash findings the image to boot from. See
// [emu.CrashFinding.SaveTo].
func SavedTo(dir string) Option { return func(o *options) { o.dir = dir } }

// BeDurableOn succeeds if the actual []byte, mapped memory of m, is durable for certain with
// the content that it has now. Other values, no bytes, and bytes that aren't in a shared
// mapping of persistent memory of m are an error.
func BeDurableOn(m *emu.Machine) types.GomegaMatcher {
	return &matcher{want: "be durable", examine: func(actual any) (*verdict, error) {
		b, ok := actual.([]byte)
		if !ok {
			return nil, fmt.Errorf("match: BeDurableOn got a %T, allowed is a []byte", actual)
		}
		return durable(m, b)
	}}
}

// HaveDurable succeeds if the actual machine has b, mapped memory of it, durable for certain:
// [BeDurableOn] with the parts exchanged.
func HaveDurable(b []byte) types.GomegaMatcher {
	return &matcher{want: "be durable", examine: func(actual any) (*verdict, error) {
		m, err := machine(actual)
		if err != nil {
			return nil, err
		}
		return durable(m, b)
	}}
}

// HaveNoFindings succeeds if the checker of the actual machine has found nothing wrong with the
// program so far, as if it ended here: see [emu.Machine.Findings].
func HaveNoFindings(o ...Option) types.GomegaMatcher {
	return findings("have no findings", o, nil, false)
}

// HaveFinding succeeds if the checker of the actual machine has found that the program breaks
// the rule. The rules about waste are proven in exact mode only. A rule that there isn't is
// an error.
func HaveFinding(rule check.Rule, o ...Option) types.GomegaMatcher {
	return findings("have the finding "+string(rule), o, &rule, true)
}

// HaveNoCrashFindings succeeds if the actual *[emu.Exploration] has no findings. It may have
// left out states for being too many: Complete says so.
func HaveNoCrashFindings(o ...Option) types.GomegaMatcher {
	opts := apply(o)
	return &matcher{want: "have no crash findings", examine: func(actual any) (*verdict, error) {
		x, ok := actual.(*emu.Exploration)
		if !ok || x == nil {
			return nil, fmt.Errorf("match: HaveNoCrashFindings got %T %v, allowed is an *emu.Exploration", actual, actual)
		}
		counted, others := counting(x.Findings, opts, func(f emu.CrashFinding) bool { return f.Proven })
		return &verdict{
			met:     len(counted) == 0,
			subject: fmt.Sprintf("the exploration of %d images at %d points", x.Images, x.Points),
			why:     list(counted, others),
			save: func() string {
				return saved(opts, counted, func(f emu.CrashFinding) (emu.SavedFiles, error) { return f.SaveTo(opts.dir) })
			},
		}, nil
	}}
}

func apply(o []Option) (opts options) {
	for _, set := range o {
		set(&opts)
	}
	return opts
}

// machine is the actual machine of an assertion.
func machine(actual any) (*emu.Machine, error) {
	var m *emu.Machine
	switch v := actual.(type) {
	case *emu.Machine:
		m = v
	case *emu.Run:
		if v != nil {
			m = v.Machine
		}
	case *emu.Crashed:
		if v != nil {
			m = v.Machine
		}
	}
	if m == nil {
		return nil, fmt.Errorf("match: got %T %v, allowed is an *emu.Machine, *emu.Run or *emu.Crashed", actual, actual)
	}
	return m, nil
}

func findings(want string, o []Option, rule *check.Rule, met bool) types.GomegaMatcher {
	opts := apply(o)
	return &matcher{want: want, examine: func(actual any) (*verdict, error) {
		m, err := machine(actual)
		if err != nil {
			return nil, err
		}
		if rule != nil && !slices.Contains(check.Rules(), *rule) {
			return nil, fmt.Errorf("match: there is no rule %q, allowed are %q", *rule, check.Rules())
		}
		counted, others := counting(m.Findings(), opts, func(f emu.Finding) bool { return f.Proven })
		found := len(counted) > 0
		if rule != nil {
			found = slices.ContainsFunc(counted, func(f emu.Finding) bool { return f.Rule == *rule })
		}
		return &verdict{
			met: found == met, subject: "the machine", why: list(counted, others),
			save: func() string {
				return saved(opts, counted[:min(len(counted), 1)], func(emu.Finding) (emu.SavedFiles, error) {
					return m.SaveFindings(opts.dir, counted)
				})
			},
		}, nil
	}}
}

// counting are the findings that count, and how many don't.
func counting[F any](all []F, o options, proven func(F) bool) (counted []F, others int) {
	counted = slices.DeleteFunc(slices.Clone(all), func(f F) bool { return !o.possible && !proven(f) })
	return counted, len(all) - len(counted)
}

// maxListed is how many findings a message tells.
const maxListed = 10

func list[F fmt.Stringer](counted []F, others int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "findings: %d", len(counted))
	if others > 0 {
		fmt.Fprintf(&s, ", and %d only possible (Possible counts them)", others)
	}
	for i, f := range counted {
		if i == maxListed {
			fmt.Fprintf(&s, "\n    and %d more", len(counted)-i)
			break
		}
		s.WriteString("\n    " + strings.ReplaceAll(f.String(), "\n", "\n    "))
	}
	return s.String()
}

// saved saves the findings that a message tells, if that's wanted, and says where.
func saved[F any](o options, counted []F, save func(F) (emu.SavedFiles, error)) string {
	if o.dir == "" {
		return ""
	}
	var s strings.Builder
	for _, f := range counted[:min(len(counted), maxListed)] {
		files, err := save(f)
		for _, path := range []string{files.Page, files.Image} {
			if path != "" {
				s.WriteString("\nsaved " + path)
			}
		}
		if err != nil {
			s.WriteString("\nnot saved: " + err.Error())
		}
	}
	return s.String()
}
