package plan

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFind(t *testing.T) {
	places := []Place{{Namespace: Namespace{Name: "a"}, Device: "/dev/dax0.0"}, {Namespace: Namespace{Name: "b"}, Mount: "/mnt/b"}}
	if p, err := Find(places, "b"); err != nil || p.Mount != "/mnt/b" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := Find(places, "c"); err == nil || !strings.Contains(err.Error(), `no place "c"`) {
		t.Errorf("%+v, %v: want an error with its name", p, err)
	}
}

// Statuses have to be told apart: those of guests, of the runner, and QEMU's own.
func TestStatuses(t *testing.T) {
	for _, own := range []int{Died, TimedOut} {
		if own <= MaxStatus {
			t.Errorf("status %d of the runner may be a guest's, up to %d", own, MaxStatus)
		}
	}
	// QEMU exits with 1 for errors of its own, and a process has no status above 255.
	if least, most := 2*FirstExit+1, 2*(FirstExit+MaxStatus)+1; least <= 2 || most > 255 {
		t.Errorf("QEMU exits with %d to %d", least, most)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, want := range []any{
		&Plan{
			Modules:    []string{"nfit"},
			Namespaces: []Namespace{{Name: "a", Kind: FSDax, Address: 1 << 32, Align: 4096, Size: 1 << 40, FS: "xfs", MakeFS: []string{"-m"}, Options: "dax=always"}},
			Steps:      []Step{{Name: "s", Args: []string{"/init", "{a/}"}, Env: []string{"A=b"}, Limit: time.Minute}}, Keep: true,
		},
		&[]Place{{Namespace: Namespace{Name: "a"}, Device: "/dev/pmem0", Region: "r", Bytes: 1 << 40, Mount: "/mnt/a"}},
		&End{Status: 7, Error: "e", Steps: []StepResult{{Name: "s", Status: 7, Error: "exit status 7", Seconds: 1.5}}},
	} {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := json.Unmarshal(text, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %v: %+v, want %+v", text, err, got, want)
		}
	}
}

func TestMountsDAX(t *testing.T) {
	for options, want := range map[string]bool{
		"": false, "dax": true, "dax=always": true, "noatime, dax": true, "dax=inode": false, "dax=never": false, "nodax": false,
	} {
		if got := (Namespace{Options: options}).MountsDAX(); got != want {
			t.Errorf("%q: got %t, want %t", options, got, want)
		}
	}
}

func TestAlignment(t *testing.T) {
	for align, want := range map[uint64]uint64{0: 2 << 20, 4096: 4096, 1 << 30: 1 << 30} {
		if got := (Namespace{Align: align}).Alignment(); got != want {
			t.Errorf("%d: got %d, want %d", align, got, want)
		}
	}
}
