package match

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"pmemlab/emu"
)

// matcher is a [types.GomegaMatcher]. Like Gomega's it's for one assertion at a time.
type matcher struct {
	want    string // of the subject: "be durable"
	examine func(actual any) (*verdict, error)
	last    *verdict
}

// verdict is what a matcher has seen.
type verdict struct {
	met          bool
	subject, why string
	save         func() string // nil: there's nothing to save
}

// Match looks at the actual value.
func (m *matcher) Match(actual any) (bool, error) {
	v, err := m.examine(actual)
	if err != nil {
		return false, err
	}
	m.last = v
	return v.met, nil
}

// FailureMessage says why the value doesn't match.
func (m *matcher) FailureMessage(any) string { return m.message("to") }

// NegatedFailureMessage says why it does.
func (m *matcher) NegatedFailureMessage(any) string { return m.message("not to") }

func (m *matcher) message(to string) string {
	s := fmt.Sprintf("Expected %s %s %s\n%s", m.last.subject, to, m.want, m.last.why)
	if m.last.save != nil {
		s += m.last.save()
	}
	return s
}

// durable is the verdict on b.
func durable(m *emu.Machine, b []byte) (*verdict, error) {
	if m == nil {
		return nil, errors.New("match: the machine is nil")
	}
	if len(b) == 0 {
		return nil, errors.New("match: there are no bytes, of which nothing can be said")
	}
	err := m.Durable(b)
	if errors.Is(err, syscall.EINVAL) {
		return nil, err
	}
	v := &verdict{
		met:     err == nil,
		subject: fmt.Sprintf("the %d bytes at %p", len(b), unsafe.SliceData(b)),
		why:     "they are",
	}
	if err != nil {
		v.why = err.Error()
	}
	return v, nil
}
