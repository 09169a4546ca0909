package conformance

import (
	"errors"
	"fmt"
	"os"

	"pmemlab/pmem2/platform"
)

// directories is what a platform.Platform lacks to give a case a place of its own. A
// machine that isn't the one that the process runs on has it itself.
type directories interface {
	// MkdirTemp makes a directory in dir, of a name that begins with prefix and goes
	// on with digits, and returns its path.
	MkdirTemp(dir, prefix string) (string, error)
	Mkdir(path string) error
	// RemoveAll removes a directory and what is in it.
	RemoveAll(path string) error
}

// hostDirectories are those of this machine.
type hostDirectories struct{}

func (hostDirectories) MkdirTemp(dir, _ string) (string, error) { return makeOwnDirectory(dir) }
func (hostDirectories) Mkdir(path string) error                 { return os.Mkdir(path, 0o700) }
func (hostDirectories) RemoveAll(path string) error             { return removeOwnDirectory(path) }

func directoriesOf(m platform.Platform) (directories, error) {
	if m == platform.Host() {
		return hostDirectories{}, nil
	}
	if d, ok := m.(directories); ok {
		return d, nil
	}
	return nil, fmt.Errorf("a machine of type %T can't make directories: it needs the methods MkdirTemp, Mkdir and RemoveAll", m)
}

// isDirectory is an error unless a path is one of a directory.
func isDirectory(m platform.Platform, dir string) error {
	fd, err := m.Open(dir, platform.ORdonly|platform.ODirectory, 0)
	if err != nil {
		return err
	}
	st, err := m.Fstat(fd)
	if err == nil && st.Type() != platform.SIFDIR {
		err = fmt.Errorf("no directory (file type %#o)", st.Type())
	}
	return errors.Join(err, m.Close(fd))
}
