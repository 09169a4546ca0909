package emu

import "fmt"

// missingIn says what older, the plan of a machine whose file systems have gone back, doesn't have
// of the names, sizes and attributes in b.
func (b *blueprint) missingIn(older *blueprint) (missing []string) {
	if b == older {
		return nil
	}
	now, then := b.inodes(), older.inodes()
	paths, were := b.index(), older.index()
	say := func(n *inodeBlueprint, path, format string, args ...any) {
		kind := "file "
		if n.Directory {
			kind = "directory "
		}
		missing = append(missing, kind+path+" "+fmt.Sprintf(format, args...))
	}
	for _, number := range sortedKeys(now) {
		n, was, path := now[number], then[number], paths[number].path
		switch {
		case was == nil:
			say(n, path, "isn't there")
		case were[number].path != path:
			say(n, path, "is %s still", were[number].path)
		case was.Size != n.Size:
			say(n, path, "has %d bytes, not %d", was.Size, n.Size)
		case was.Mode != n.Mode || was.AppendOnly != n.AppendOnly || was.Immutable != n.Immutable:
			say(n, path, "has the attributes of before")
		}
	}
	for _, number := range sortedKeys(then) {
		if now[number] == nil {
			say(then[number], were[number].path, "is there still")
		}
	}
	if missing == nil {
		missing = []string{"blocks of files are as before the last change"}
	}
	return missing
}

// inodes are all files and directories, by number.
func (b *blueprint) inodes() map[int]*inodeBlueprint {
	all := map[int]*inodeBlueprint{}
	for _, fs := range b.FileSystems {
		for i := range fs.Inodes {
			all[fs.Inodes[i].Number] = &fs.Inodes[i]
		}
	}
	return all
}
