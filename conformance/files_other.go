//go:build !linux

package conformance

import "errors"

var errNotLinux = errors.New("not supported: this isn't Linux")

func isTmpfs(string) error { return errNotLinux }

func isDisk(string) error { return errNotLinux }

func setAppendOnly(string, bool) error { return errNotLinux }

func newPTY() (object, func() error, error) { return object{}, nil, errNotLinux }
