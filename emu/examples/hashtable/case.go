package hashtable

import (
	"maps"

	"pmemlab/emu/examples/pmem"
)

// NewCase is a life of a table in one file: n times an entry is put or deleted. There are few
// keys, so that values are replaced and cells used again.
func NewCase(seed uint64, n int) pmem.Case {
	r := pmem.Rand(seed)
	type op struct {
		key   uint64
		value []byte // nil: delete
	}
	ops, states := make([]op, n), make([]map[uint64]string, n+1)
	states[0] = map[uint64]string{}
	for i := range ops {
		ops[i].key = uint64(r.IntN(4))
		states[i+1] = maps.Clone(states[i])
		if r.IntN(4) == 0 {
			delete(states[i+1], ops[i].key)
			continue
		}
		ops[i].value = pmem.Fill(r, 1+r.IntN(MaxValue))
		states[i+1][ops[i].key] = string(ops[i].value)
	}
	return pmem.Steps(
		func(files []pmem.Memory) (*Table, error) { return Open(files[0]) },
		n, func(t *Table, i int) error {
			if o := ops[i]; o.value != nil {
				return t.Put(o.key, o.value)
			}
			return t.Delete(ops[i].key)
		},
		func(t *Table) map[uint64]string {
			got := map[uint64]string{}
			for k, v := range t.All() {
				got[k] = string(v)
			}
			return got
		},
		states, maps.Equal)
}
