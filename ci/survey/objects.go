package survey

import (
	"strings"
	"syscall"

	"pmemlab/ci/vm/plan"
	"pmemlab/pmem2/platform"
)

// kind is what an object is, as far as questions depend on it.
type kind int

const (
	deviceDAX kind = iota
	file
	directory
	block     // of a file system: it is never written to
	character // can't be mapped, or is nobody's memory
)

// object is what can be opened.
type object struct {
	name, path string
	kind       kind
	place      plan.Place
	align      uint64 // what lengths and offsets go by in the geometry, in bytes
	size       uint64 // of a device or file, in bytes
	// modes are those in which the protections are asked for.
	modes []openMode
	// empty: without a byte. closed: append-only or immutable.
	empty, closed bool
}

const (
	// fileSize is inside its last page, and has four huge pages.
	fileSize = 8<<20 + 0x1388
	huge     = 2 << 20
)

// folder is where the survey's files are in a file system.
const folder = "survey"

// furnish finds the objects and makes those that are files.
func (s *session) furnish() {
	s.family = "set-up"
	nvdimm := false
	for _, p := range s.places {
		s.object = p.Name
		switch {
		case p.Kind == plan.DevDax:
			s.objects = append(s.objects, object{
				name: p.Name, path: p.Device, kind: deviceDAX, place: p, align: p.Alignment(), size: p.Bytes,
				modes: []openMode{readOnly, readWrite, writeOnly, pathOnly},
			})
		case p.Mount != "":
			s.furnishFS(p)
		}
		if nmem := s.nmemOf(p); nmem != "" && !nvdimm {
			nvdimm = true
			s.objects = append(s.objects, object{
				name: "nmem", path: "/dev/" + nmem, kind: character, align: page, modes: []openMode{readWrite},
			})
		}
	}
	for _, name := range []string{"zero", "null"} {
		s.objects = append(s.objects, object{
			name: name, path: "/dev/" + name, kind: character, align: page,
			modes: []openMode{readOnly, readWrite, writeOnly, pathOnly},
		})
	}
}

// furnishFS makes the files of one file system.
func (s *session) furnishFS(p plan.Place) {
	dir := p.Mount + "/" + folder
	if err := s.k.Mkdir(dir); err != nil && err != syscall.EEXIST {
		s.fail("mkdir %s: %w", dir, err)
		return
	}
	all := []openMode{readOnly, readWrite, writeOnly, readAppend, pathOnly}
	for _, f := range []object{
		{name: "", kind: file, align: huge, size: fileSize, modes: all},
		{name: "-empty", kind: file, align: page, modes: []openMode{readWrite}, empty: true},
		{name: "-append", kind: file, align: page, size: 2 * page, modes: openModes, closed: true},
		{name: "-immutable", kind: file, align: page, size: 2 * page, modes: openModes, closed: true},
		{name: "-dir", kind: directory, align: page, modes: openModes},
	} {
		f.place, f.path, f.name = p, dir+"/file"+f.name, p.Name+f.name
		s.object = f.name
		if f.kind == directory {
			f.path = dir
		} else if err := s.makeFile(f.path, f.size); err != nil {
			s.fail("making %s: %w", f.path, err)
			continue
		}
		if f.closed {
			appendOnly := strings.HasSuffix(f.name, "-append")
			if err := s.k.SetFlags(f.path, appendOnly, !appendOnly); err != nil {
				s.fail("chattr of %s: %w", f.path, err)
				continue
			}
		}
		s.objects = append(s.objects, f)
	}
	if p.Device != "" {
		s.objects = append(s.objects, object{
			name: p.Name + "-block", path: p.Device, kind: block, place: p, align: page, size: p.Bytes,
			modes: []openMode{readOnly, readWrite},
		})
	}
}

// makeFile makes a file of size bytes, all of them written.
func (s *session) makeFile(path string, size uint64) error {
	fd, err := s.k.Open(path, platform.ORdwr|platform.OCreat|platform.OTrunc, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = s.k.Close(fd) }()
	buf := make([]byte, 1<<20)
	for i := range buf {
		buf[i] = byte(i/page + 1)
	}
	for off := uint64(0); off < size; {
		n, err := s.k.Pwrite(fd, buf[:min(uint64(len(buf)), size-off)], int64(off))
		if err != nil {
			return err
		}
		off += uint64(n)
	}
	return nil
}

// clear takes the survey's files away again; the folder stays.
func (s *session) clear() {
	s.family = "clean-up"
	for i := range s.objects {
		o := &s.objects[i]
		s.object = o.name
		if o.kind != file {
			continue
		}
		if o.closed {
			if err := s.k.SetFlags(o.path, false, false); err != nil {
				s.fail("chattr of %s: %w", o.path, err)
			}
		}
		if err := s.k.Unlink(o.path); err != nil {
			s.fail("unlink of %s: %w", o.path, err)
		}
	}
}

// nmemOf is the first NVDIMM under a place: "nmem0"; "" if there is none.
func (s *session) nmemOf(p plan.Place) string {
	if p.Region == "" {
		return ""
	}
	text, err := s.k.ReadAttr(p.Region + "/mapping0")
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(text, ",")
	return name
}

// each calls f for each object of the kinds.
func (s *session) each(f func(o *object), kinds ...kind) {
	for i := range s.objects {
		for _, k := range kinds {
			if s.objects[i].kind == k {
				s.object = s.objects[i].name
				f(&s.objects[i])
			}
		}
	}
}
