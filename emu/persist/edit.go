package persist

import (
	"encoding/binary"
	"slices"
)

// Edit is the images with other cells: for each, edit says whether it stays, where its content
// goes, and if fix isn't nil what becomes of each content, which fix may change. It must
// change the same bytes, and to the same, in every content of a cell. Contents that are equal
// then count once.
func (s *Images) Edit(edit func(off uint64, size int) (at uint64, keep bool, fix func(content []byte))) *Images {
	edited := &Images{complete: s.complete}
	for _, c := range s.cells {
		at, keep, fix := edit(c.off, c.size())
		if !keep {
			continue
		}
		c.off = at
		if fix != nil {
			c = c.fixed(fix)
		}
		edited.cells = append(edited.cells, c)
	}
	return edited
}

// fixed is the cell with all its contents changed by fix.
func (c *cell) fixed(fix func([]byte)) cell {
	f := cell{off: c.off, count: 1}
	if c.list != nil {
		seen := map[string]bool{}
		for _, content := range c.list {
			content = slices.Clone(content)
			fix(content)
			if !seen[string(content)] {
				seen[string(content)] = true
				f.list = append(f.list, content)
			}
		}
		f.count = uint64(len(f.list))
		return f
	}
	content := slices.Clone(c.base)
	f.base = slices.Clone(c.base)
	fix(f.base)
	for _, w := range c.words {
		v := varying{word: w.word}
		for _, value := range w.values {
			copy(content, c.base)
			binary.LittleEndian.PutUint64(content[w.word*wordSize:], value)
			fix(content)
			if value = binary.LittleEndian.Uint64(content[w.word*wordSize:]); !slices.Contains(v.values, value) {
				v.values = append(v.values, value)
			}
		}
		if len(v.values) == 1 {
			binary.LittleEndian.PutUint64(f.base[w.word*wordSize:], v.values[0])
			continue
		}
		f.words = append(f.words, v)
		f.count *= uint64(len(v.values))
	}
	return f
}
