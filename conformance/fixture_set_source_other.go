//go:build !linux

package conformance

// No target runs cases here.

// Umask sets the umask of the process until the case has ended.
func (t *T) Umask(int) { t.NotSupportedf("the umask is set on Linux only") }

func specialFile(t *T, _ string, _ uint32) {
	t.NotSupportedf("FIFOs and sockets are made on Linux only")
}

func symlink(t *T, _, _ string) { t.NotSupportedf("symbolic links are made on Linux only") }

func checkNames(t *T, _, _ string, _ ...string) {
	t.NotSupportedf("directories are listed on Linux only")
}
