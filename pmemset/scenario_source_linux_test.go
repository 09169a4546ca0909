package pmemset_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"pmemlab/pmem2"
	"pmemlab/pmem2/platform"
	"pmemlab/pmemset"
)

// TestScenario52: one part map can be made of parts of different files.
func TestScenario52(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(s.reservation(sceneM))
		s.coalescing(set, pmemset.CoalescingFull)
		fa, fb := s.newFile(48*sceneK), s.newFile(sceneM)
		s.mapsAt("R 48K", set, s.fixed(fa), 0, 0)
		d := s.mapsAt("R 112K", set, s.fixed(fb), 16*sceneK, 64*sceneK)
		s.parts(set, "R 112K")
		s.must(set.Memcpy(d.Bytes()[48*sceneK-4:48*sceneK+4], []byte("abcdefgh"), 0))
		if got := s.reads(fa, 48*sceneK-5, 5); string(got) != "\x00abcd" {
			s.Errorf("the first file ends with %q", got)
		}
		if got := s.reads(fb, 16*sceneK-1, 6); string(got) != "\x00efgh\x00" {
			s.Errorf("the second file has %q around offset 16K", got)
		}
	})
}

// TestScenario53: a file grows to where a part ends, and stays when it is large enough.
func TestScenario53(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, path := s.set(nil), s.newFile(100*sceneK)
		src := s.growing(path)
		s.mapsAt("A: 128K", set, src, 64*sceneK, 128*sceneK)
		s.sizeIs(path, 196608)
		s.mapsAt("B: 64K", set, src, 0, 64*sceneK)
		s.sizeIs(path, 196608)
		d, err := set.Map(src, nil)
		s.must(err)
		if d.Size != 196608 {
			s.Errorf("without a config %d bytes are mapped, want all 196608", d.Size)
		}
		s.sizeIs(path, 196608)
	})
}

// TestScenario54: the size of a source is read anew by each map call.
func TestScenario54(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		set, path := s.set(nil), s.newFile(64*sceneK)
		src := s.fixed(path)
		fd := s.open(path, platform.ORdwr)
		defer s.machine.Close(fd)
		for _, size := range []uint64{64 * sceneK, 128 * sceneK, 4 * sceneK} {
			s.must(s.machine.Ftruncate(fd, int64(size)))
			d, err := set.Map(src, nil)
			s.must(err)
			if d.Size != size {
				s.Errorf("%d bytes are mapped, the file has %d", d.Size, size)
			}
		}
	})
}

// TestScenario55: a temporary file grows in every generation, to where the part ends.
func TestScenario55(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set, src := s.set(nil), s.temporary()
		s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
		s.mapsAt("B: 64K", set, src, sceneM, 64*sceneK)
		s.mapsAt("C: 1088K", set, src, 0, 0)
		s.outcome("reading the last byte", src.PreadMCSafe(make([]byte, 1), 1088*sceneK-1), "0")
		s.outcome("reading behind it", src.PreadMCSafe(make([]byte, 1), 1088*sceneK), "LENGTH_OUT_OF_RANGE")
	})
}

// TestScenario56: in the second generation a length that isn't set is the size of a
// source that may grow, whatever the offset.
func TestScenario56(t *testing.T) {
	sceneEach(t, "G2", func(s *scene) {
		set, path := s.set(nil), s.newFile(64*sceneK)
		src := s.growing(path)
		s.mapsAt("A: 64K", set, src, 64*sceneK, 0)
		s.sizeIs(path, 128*sceneK)
		s.mapsAt("B: 128K", set, src, 64*sceneK, 0)
		s.sizeIs(path, 192*sceneK)
	})
}

// TestScenario57: in the first generation only a length that is set makes a source grow.
func TestScenario57(t *testing.T) {
	sceneEach(t, "G1", func(s *scene) {
		set, path := s.set(nil), s.newFile(64*sceneK)
		src := s.growing(path)
		s.refuses("INVALID_PMEM2_MAP", set, src, 64*sceneK, 0)
		s.sizeIs(path, 64*sceneK)
		s.mapsAt("A: 64K", set, src, 64*sceneK, 64*sceneK)
		s.sizeIs(path, 128*sceneK)
	})
}

// TestScenario58: the file of a pmem2 source grows in the third generation only.
func TestScenario58(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set, path := s.set(nil), s.newFile(64*sceneK)
		fd := s.open(path, platform.ORdwr)
		defer s.machine.Close(fd)
		lower, err := pmem2.SourceFromFD(fd, pmem2.On(s.machine))
		s.must(err)
		src, err := pmemset.SourceFromPMem2(lower)
		s.must(err)
		s.keep(src)
		if s.gen.name != "G3" {
			s.refuses("INVALID_PMEM2_MAP", set, src, 0, 128*sceneK)
			s.sizeIs(path, 64*sceneK)
			s.mapsAt("A: 64K", set, src, 0, 64*sceneK)
			return
		}
		s.mapsAt("A: 128K", set, src, 0, 128*sceneK)
		s.sizeIs(path, 128*sceneK)
	})
}

// TestScenario59: a new file has the mode asked for less the umask, and can be mapped
// whatever it is.
func TestScenario59(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	sceneEach(t, "G3", func(s *scene) {
		for _, tc := range []struct {
			flags pmemset.SourceFlags
			want  uint32
		}{
			{pmemset.SourceFileCreateIfNeeded, 0o640},
			{pmemset.SourceFileCreateAlways | pmemset.CreateMode(0o666), 0o640},
			{pmemset.CreateAlwaysMode(0), 0o640},
			{pmemset.SourceFileCreateIfNeeded | pmemset.CreateMode(0o400), 0o400},
		} {
			path := s.missing("new")
			src := s.source(path, tc.flags)
			s.modeIs(path, tc.want)
			s.sizeIs(path, 0)
			d := s.maps(s.set(nil), src, 0, 64*sceneK)
			copy(d.Bytes(), "written")
			s.sizeIs(path, 64*sceneK)
		}
	})
}

// TestScenario60: the flags that make a file keep the mode of one that is there;
// CREATE_ALWAYS empties it.
func TestScenario60(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		path := s.missing("old")
		fd, err := s.machine.Open(path, platform.ORdwr|platform.OCreat, 0o640)
		s.must(err)
		s.must(errors.Join(s.machine.Ftruncate(fd, sceneM), s.machine.Close(fd)))

		s.source(path, pmemset.SourceFileCreateIfNeeded|pmemset.CreateMode(0o600))
		s.sizeIs(path, sceneM)
		s.modeIs(path, 0o640)

		src := s.source(path, pmemset.SourceFileCreateAlways|pmemset.SourceFileCreateIfNeeded|pmemset.SourceFileDoNotGrow)
		s.sizeIs(path, 0)
		s.modeIs(path, 0o640)
		set := s.set(nil)
		s.refuses("SOURCE_FILE_IS_TOO_SMALL", set, src, 0, 64*sceneK)
		s.refuses("MAP_LENGTH_UNSET", set, src, 0, 0)
		_, err = set.Map(src, nil)
		s.outcome("mapping without a config", err, "MAP_LENGTH_UNSET")
		s.sizeIs(path, 0)
	})
}

// TestScenario61: without a flag that makes it a file must be there; links are followed.
func TestScenario61(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		path := s.missing("none")
		for _, tc := range []struct {
			flags pmemset.SourceFlags
			want  string
		}{
			{pmemset.CreateMode(0o600), "ENOENT"},
			{pmemset.SourceFileDoNotGrow, "ENOENT"},
			{pmemset.SourceFileDoNotGrow | pmemset.CreateMode(0o600), "ENOENT"},
			{0, "INVALID_SOURCE_PATH"},
		} {
			_, err := pmemset.XSourceFromFile(path, tc.flags, s.on())
			s.outcome(fmt.Sprintf("flags %#x", uint64(tc.flags)), err, tc.want)
		}
		if fd, err := s.machine.Open(path, platform.ORdonly, 0); err == nil {
			s.Errorf("the file is there now")
			s.must(s.machine.Close(fd))
		}
		if s.emu != nil {
			return // an emulated file system has no links
		}
		file, link := s.newFile(64*sceneK), filepath.Join(s.TempDir(), "link")
		s.must(os.Symlink(path, link))
		_, err := pmemset.SourceFromFile(link, s.on())
		s.outcome("a link that leads nowhere", err, "INVALID_SOURCE_PATH")
		_, err = pmemset.XSourceFromFile(link, 0, s.on())
		s.outcome("a link that leads nowhere, no flags", err, "INVALID_SOURCE_PATH")
		s.must(os.Remove(link))
		s.must(os.Symlink(file, link))
		s.mapsAt("A: 64K", s.set(nil), s.source(link, 0), 0, 0)
	})
}

// TestScenario63: what is mapped doesn't need its source.
func TestScenario63(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		file := s.newFile(64 * sceneK)
		for _, src := range []*pmemset.Source{s.fixed(file), s.temporary()} {
			set := s.set(nil)
			d := s.maps(set, src, 0, 64*sceneK)
			s.must(src.Delete())
			copy(d.Bytes(), "after")
			s.must(set.Persist(d.Bytes()))
			s.must(set.DeepFlush(d.Bytes()))
			if string(d.Bytes()[:5]) != "after" {
				s.Errorf("the memory has %q", d.Bytes()[:5])
			}
			s.refuses("INVALID_SOURCE_TYPE", set, src, 0, 64*sceneK)
			s.must(set.Delete())
		}
		if got := s.reads(file, 0, 5); string(got) != "after" {
			s.Errorf("the file has %q", got)
		}
	})
}

// TestScenario87: reads and writes that survive bad blocks end where the source ends.
func TestScenario87(t *testing.T) {
	sceneEach(t, "G3", func(s *scene) {
		path := s.newFile(64 * sceneK)
		for _, src := range []*pmemset.Source{s.fixed(path), s.growing(path)} {
			const last = 64*sceneK - 6
			s.must(src.PwriteMCSafe([]byte("sixsix"), last))
			p := make([]byte, 6)
			s.must(src.PreadMCSafe(p, last))
			if string(p) != "sixsix" || !bytes.Equal(s.reads(path, last, 100), p) {
				s.Errorf("read back: %q; the file ends with %q", p, s.reads(path, last, 100))
			}
			for _, tc := range []struct {
				n    int
				off  uint64
				want string
			}{
				{7, last, "LENGTH_OUT_OF_RANGE"},
				{1, 64 * sceneK, "LENGTH_OUT_OF_RANGE"},
				{0, 64 * sceneK, "0"},
				{0, 64*sceneK + 1, "LENGTH_OUT_OF_RANGE"},
				{1, 1 << 63, "LENGTH_OUT_OF_RANGE"},
				{1, 1<<64 - 1, "LENGTH_OUT_OF_RANGE"}, // ends at 2^64
				{2, 1<<64 - 1, "LENGTH_OUT_OF_RANGE"},
			} {
				what := fmt.Sprintf("%d bytes at %d", tc.n, tc.off)
				s.outcome("reading "+what, src.PreadMCSafe(make([]byte, tc.n), tc.off), tc.want)
				s.outcome("writing "+what, src.PwriteMCSafe(make([]byte, tc.n), tc.off), tc.want)
			}
			s.sizeIs(path, 64*sceneK)
			if got := s.reads(path, last, 6); string(got) != "sixsix" {
				s.Errorf("the file ends with %q after writes that fail", got)
			}
		}
		fresh := s.temporary()
		s.outcome("reading a new temporary file", fresh.PreadMCSafe(make([]byte, 1), 0), "LENGTH_OUT_OF_RANGE")
		s.outcome("reading nothing of it", fresh.PreadMCSafe(nil, 0), "0")
	})
}

// TestScenario89: the first generation looks for the file once more, the others use the
// descriptor.
func TestScenario89(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set := s.set(nil)
		name := s.missing("gone")
		file := s.source(name, pmemset.SourceFileCreateIfNeeded|s.gen.grows)
		s.must(s.machine.Unlink(name))
		if s.gen.name != "G1" {
			s.mapsAt("A: 64K", set, file, 0, 64*sceneK)
			return
		}
		s.refuses("INVALID_SOURCE_PATH", set, file, 0, 64*sceneK)

		dir := s.newDir()
		temporary, err := pmemset.SourceFromTemporary(dir, s.on())
		s.must(err)
		s.keep(temporary)
		s.mapsAt("A: 64K", set, temporary, 0, 64*sceneK)
		if s.emu != nil {
			s.must(s.pageFS.Remove(path.Base(dir)))
		} else {
			s.must(os.Remove(dir))
		}
		s.refuses("INVALID_SOURCE_PATH", set, temporary, 0, 64*sceneK)
	})
}

// TestScenario90: an error keeps its text, whatever succeeds or fails later, here or
// elsewhere.
func TestScenario90(t *testing.T) {
	sceneEach(t, "all", func(s *scene) {
		set, src := s.set(nil), s.file()
		_, failure := s.mapAt(set, src, 0, 100)
		if failure == nil {
			s.Fatal("100 bytes are mapped")
		}
		text := failure.Error()
		s.maps(set, src, 0, 64*sceneK)
		if failure.Error() != text {
			s.Errorf("after a success: %q, before %q", failure, text)
		}
		elsewhere := make(chan error)
		go func() {
			_, err := s.mapAt(set, src, 0, 64*sceneK)
			elsewhere <- err
			_, err = s.mapAt(set, src, 100, 64*sceneK)
			elsewhere <- err
		}()
		s.outcome("a fresh goroutine", <-elsewhere, "0")
		s.outcome("its own error", <-elsewhere, "INVALID_PMEM2_MAP")
		if failure.Error() != text {
			s.Errorf("after another goroutine's error: %q, before %q", failure, text)
		}
		var e *pmemset.Error
		if !errors.As(failure, &e) || e.Op == "" || e.Detail() == "" || e.Code != pmemset.ErrLengthUnaligned {
			s.Errorf("the error is %#v", failure)
		}
	})
}
