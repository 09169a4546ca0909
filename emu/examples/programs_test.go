package examples

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"pmemlab/emu/examples/appendlog"
	"pmemlab/emu/examples/doublebuffer"
	"pmemlab/emu/examples/hashtable"
	"pmemlab/emu/examples/mutate"
	"pmemlab/emu/examples/pmem"
	"pmemlab/emu/examples/twofile"
	"pmemlab/pmem2"
)

// TestDamagedFiles has the programs open files with wrong bytes in them: an error is right,
// and so is luck; a panic is not.
func TestDamagedFiles(t *testing.T) {
	for _, e := range All() {
		seed := rand.Uint64()
		r := pmem.Rand(seed)
		refused := 0
		defer func() {
			if p := recover(); p != nil {
				t.Fatalf("%s, seed %d: %v", e.Name, seed, p)
			}
		}()
		c := e.NewCase(seed, 3)
		x := explore(c, e.Files, &mutate.Program{}, 1)
		for range 1000 {
			for i, b := range x.files {
				b = bytes.Clone(b)
				for range 1 + r.IntN(4) {
					at := r.IntN(640) // where the structure is
					b[at&^7+r.IntN(8)] ^= 1 << r.IntN(8)
					if r.IntN(3) == 0 {
						copy(b[at&^7:], bytes.Repeat([]byte{0xFF}, r.IntN(9)))
					}
				}
				copy(x.image[i], b)
			}
			if err := errors.Join(c.Recover(x.after), c.Check(x.after, x.acks)); err != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("%s, seed %d: no damage was noticed", e.Name, seed)
		}
	}
}

// TestErrors has the programs refuse what they can't do.
func TestErrors(t *testing.T) {
	fails := func(name string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	_, err := appendlog.Open(bare(make([]byte, 63)))
	fails("a log without room for its tail", err, "at least 64")
	l, err := appendlog.Open(bare(make([]byte, 128)))
	fails("a batch that doesn't fit", errors.Join(err, l.Append([]byte("fits"), make([]byte, 60))), appendlog.ErrFull.Error())
	for range l.All() {
		t.Error("a part of a batch is in the log")
	}
	if err := l.Append(make([]byte, 56)); err != nil {
		t.Errorf("a record that just fits: %v", err)
	}

	_, err = hashtable.Open(bare(make([]byte, 100)))
	fails("a table without room for slots", err, "at least 384")
	table, err := hashtable.Open(bare(make([]byte, 1024)))
	fails("a value that is too large", errors.Join(err, table.Put(1, make([]byte, hashtable.MaxValue+1))), hashtable.ErrTooLarge.Error())
	for key := range uint64(100) {
		if err = table.Put(key, []byte{byte(key)}); err != nil {
			break
		}
	}
	fails("a key too many", err, hashtable.ErrFull.Error())
	if err := errors.Join(table.Put(0, []byte("new")), table.Delete(1), table.Delete(99), table.Put(98, nil)); err != nil {
		t.Errorf("a full table: %v", err)
	}
	for key, want := range map[uint64]string{0: "new", 2: "\x02", 98: ""} {
		if got, ok := table.Get(key); string(got) != want || !ok {
			t.Errorf("key %d: got %q, %v, want %q", key, got, ok, want)
		}
	}
	if got, ok := table.Get(1); ok {
		t.Errorf("a deleted key: %q", got)
	}

	for i := range 100 { // the cells of replaced and of deleted values are used again
		if err := errors.Join(table.Put(0, []byte{byte(i)}), table.Delete(2), table.Put(2, []byte{byte(i)})); err != nil {
			t.Fatalf("change %d of a full table: %v", i, err)
		}
	}

	_, err = doublebuffer.Open(bare(make([]byte, 192)), 65)
	fails("slots that don't fit", err, "two slots of 65")
	d, err := doublebuffer.Open(bare(make([]byte, 192)), 64)
	fails("a value that doesn't fit", errors.Join(err, d.Publish(make([]byte, 65))), "at most 64")

	_, err = twofile.Open(bare(make([]byte, 1000)), bare(nil))
	fails("a file without room for the log", err, "at least 1088")
	s, err := twofile.Open(bare(make([]byte, 1100)), bare(make([]byte, 2000)))
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]twofile.Write{
		"file 2":               {File: 2},
		"file -1":              {File: -1},
		"behind the end":       {File: 0, Off: 13},
		"over the end":         {File: 0, Off: 12, Data: []byte{1}},
		"an offset that wraps": {File: 1, Off: ^uint64(0), Data: []byte{1}},
	} {
		fails(name, s.Commit(w), "outside of the data")
	}
	fails("a large transaction", s.Commit(twofile.Write{File: 1, Data: make([]byte, 1009)}), twofile.ErrTooLarge.Error())
	if err := errors.Join(s.Commit(), s.Commit(twofile.Write{File: 1, Data: bytes.Repeat([]byte{1}, 1008)})); err != nil || s.Data(1)[1007] != 1 {
		t.Errorf("the largest transaction: %v", err)
	}
	_, err = twofile.OpenMaps(&pmem2.Map{}, &pmem2.Map{})
	fails("maps that share no operations", err, "share operations")
}
