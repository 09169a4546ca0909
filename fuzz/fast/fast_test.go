package fast

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"pmemlab/fuzz"
	"pmemlab/pmem2/platform"
)

// fake is a target of 8 bytes, of which the sum is what run is told.
type fake struct {
	run    func(input []byte) (bool, error)
	inputs [][]byte
	closed int
}

func (f *fake) Run(input []byte) (bool, error) {
	f.inputs = append(f.inputs, input)
	return f.run(input)
}

func (f *fake) Close() error {
	f.closed++
	return nil
}

func (f *fake) target() fuzz.Target {
	return fuzz.Target{
		Name: "Fake",
		New:  func() (fuzz.Instance, error) { return f, nil },
		Generate: func(r *rand.Rand) []byte {
			b := make([]byte, 8)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		},
	}
}

func TestSeeded(t *testing.T) {
	inputs := func(seed uint64, parts ...uint64) [][]byte {
		f := &fake{run: func(b []byte) (bool, error) { return b[0] < 64, nil }}
		r := Runner{Target: f.target(), Seed: seed}
		total := uint64(0)
		for _, n := range parts {
			if finding, err := r.Run(time.Hour, n); finding != nil || err != nil {
				t.Fatal(finding, err)
			}
			total += n
		}
		if r.Executions() != total || r.Accepted == 0 || r.Refused == 0 || r.Time() <= 0 || r.Next != total {
			t.Errorf("%d inputs: %+v, next %d", total, r.Stats, r.Next)
		}
		if err := r.Close(); err != nil || f.closed != 1 {
			t.Errorf("closed %d times, %v", f.closed, err)
		}
		return f.inputs
	}
	equal := func(a, b [][]byte) bool { return bytes.Equal(bytes.Join(a, nil), bytes.Join(b, nil)) }
	all := inputs(1, 100)
	if !equal(all, inputs(1, 1, 39, 60)) {
		t.Error("inputs depend on how many are run at a time")
	}
	if equal(all, inputs(2, 100)) {
		t.Error("another seed makes the same inputs")
	}
}

func TestFinding(t *testing.T) {
	wrong := errors.New("wrong")
	f := &fake{run: func(b []byte) (bool, error) {
		if b[3] == 7 {
			return false, wrong
		}
		return false, nil
	}}
	var watched []byte
	r := Runner{Target: f.target(), Seed: 1, Watch: func(b []byte) { watched = b }}
	got, err := r.Run(time.Hour, 1<<20)
	if err != nil || got == nil || got.Err != "wrong" || got.Input[3] != 7 || got.Number != uint64(len(f.inputs)-1) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !bytes.Equal(watched, got.Input) || !bytes.Equal(r.Input(got.Number), got.Input) {
		t.Error("the input isn't the one of its number")
	}
	if small := Minimize(f.target(), got.Input, 1000); !bytes.Equal(small, []byte{0, 0, 0, 7}) {
		t.Errorf("%v is minimised to %v", got.Input, small)
	}
	if same := Minimize(f.target(), got.Input, 0); !bytes.Equal(same, got.Input) {
		t.Errorf("without a try it's %v", same)
	}
}

func TestTryRecovers(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for want, run := range map[string]func([]byte) (bool, error){
		"index out of range":     func(b []byte) (bool, error) { return b[len(b)] == 0, nil },
		"invalid memory address": func([]byte) (bool, error) { return platform.Bytes(1<<40, 1)[0] == 0, nil },
	} {
		if _, err := Try(&fake{run: run}, []byte{1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
}

func TestNoInstance(t *testing.T) {
	r := Runner{Target: fuzz.Target{New: func() (fuzz.Instance, error) { return nil, errors.New("no machine") }}}
	if finding, err := r.Run(time.Hour, 1); finding != nil || err == nil {
		t.Errorf("%v, %v", finding, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
