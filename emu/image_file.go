package emu

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// The file that holds a machine: its blueprint and what isn't zero in its memory. Numbers
// are little-endian.
//
//	 bytes
//	     8  "pmemlab\n"
//	     4  version, 1
//	     8  h, at most 64 MiB
//	     8  n, at most 2 GiB
//	     h  JSON: {"Blueprint": …, "Extra": …}, the second what the caller likes
//	     n  a deflate stream (RFC 1951) of pieces
//	    32  SHA-256 of all before
//
// A piece is
//
//	     8  number of the object; 0 ends the pieces, and nothing follows it
//	     8  offset in bytes
//	     4  k, from 1 to 1 MiB
//	     k  data
//
// Pieces ascend by object and offset and don't overlap. They hold 1 GiB at most. Equal
// input makes equal bytes.

const (
	imageMagic   = "pmemlab\n"
	imageVersion = 1
	imagePrefix  = len(imageMagic) + 4 + 8 + 8

	maxImageHeader   = 64 << 20
	maxImagePiece    = 1 << 20
	maxImageContents = 1 << 30
	maxImageStream   = 2 << 30
	pieceHeader      = 8 + 8 + 4
)

// content is bytes of an object: at least one, and at most 1 MiB. What no content tells of
// is zero.
type content struct {
	Object int // number
	Off    uint64
	Data   []byte
}

// imageFile is what a file holds. The blueprint was checked, and the contents fit it.
type imageFile struct {
	Blueprint *blueprint
	Contents  []content
	Extra     json.RawMessage
}

type imageHeader struct {
	Blueprint *blueprint
	Extra     json.RawMessage `json:",omitempty"`
}

// contentSizes are the bytes that each object with contents has, by number.
func (b *blueprint) contentSizes() map[int]uint64 {
	sizes := map[int]uint64{}
	for _, n := range b.Nodes {
		sizes[n.Number] = n.Size
	}
	for _, fs := range b.FileSystems {
		for _, i := range fs.Inodes {
			sizes[i.Number] = i.Size
		}
	}
	return sizes
}

// contentCheck is what contents must agree in.
type contentCheck struct {
	sizes  map[int]uint64
	object int    // of the piece before
	end    uint64 // where that ended
	total  uint64
}

// next says what is wrong with a piece of n bytes.
func (c *contentCheck) next(object int, off, n uint64) error {
	size := c.sizes[object]
	switch {
	case n == 0 || n > maxImagePiece:
		return fmt.Errorf("%d bytes, allowed are 1 to %d", n, maxImagePiece)
	case off > size || n > size-off:
		return fmt.Errorf("%d bytes at %d of object %d, allowed are those inside its %d", n, off, object, size)
	case object < c.object || object == c.object && off < c.end:
		return fmt.Errorf("%d bytes at %d of object %d behind those that end at %d of object %d, allowed are ascending ones",
			n, off, object, c.end, c.object)
	}
	c.object, c.end = object, off+n
	if c.total += n; c.total > maxImageContents {
		return fmt.Errorf("more than %d bytes in all, which are allowed", maxImageContents)
	}
	return nil
}

// writeImage writes a file of the blueprint and of contents, which must ascend by object
// and offset. extra is nil or any JSON; it is read again without spaces between.
func writeImage(w io.Writer, b *blueprint, contents iter.Seq[content], extra json.RawMessage) error {
	if _, err := b.check(); err != nil {
		return err
	}
	header, err := json.Marshal(imageHeader{b, extra})
	if err == nil && len(header) > maxImageHeader {
		err = fmt.Errorf("it has %d bytes, allowed are %d", len(header), maxImageHeader)
	}
	if err != nil {
		return fmt.Errorf("emu: header of an image file: %w", err)
	}
	var stream bytes.Buffer
	if err := writePieces(&stream, b, contents); err != nil {
		return fmt.Errorf("emu: contents of an image file: %w", err)
	}
	sum := sha256.New()
	all := io.MultiWriter(w, sum)
	prefix := binary.LittleEndian.AppendUint32([]byte(imageMagic), imageVersion)
	prefix = binary.LittleEndian.AppendUint64(prefix, uint64(len(header)))
	prefix = binary.LittleEndian.AppendUint64(prefix, uint64(stream.Len()))
	for _, part := range [][]byte{prefix, header, stream.Bytes()} {
		if _, err := all.Write(part); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

func writePieces(w io.Writer, b *blueprint, contents iter.Seq[content]) error {
	deflate, err := flate.NewWriter(w, flate.DefaultCompression)
	if err != nil {
		return err
	}
	check := contentCheck{sizes: b.contentSizes()}
	head := make([]byte, pieceHeader)
	for c := range contents {
		if err := check.next(c.Object, c.Off, uint64(len(c.Data))); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(head, uint64(c.Object))
		binary.LittleEndian.PutUint64(head[8:], c.Off)
		binary.LittleEndian.PutUint32(head[16:], uint32(len(c.Data)))
		if _, err := deflate.Write(head); err != nil {
			return err
		}
		if _, err := deflate.Write(c.Data); err != nil {
			return err
		}
	}
	if _, err := deflate.Write(make([]byte, 8)); err != nil {
		return err
	}
	return deflate.Close()
}

// readImage reads a file to its end. The error says where the file is wrong. A file takes
// as much memory as it is long, its contents, and what its header takes as data: some 50
// times its length at most.
func readImage(r io.Reader) (*imageFile, error) {
	f, err := parseImage(r)
	if err != nil {
		return nil, fmt.Errorf("emu: image file: %w", err)
	}
	return f, nil
}

func parseImage(r io.Reader) (*imageFile, error) {
	sum := sha256.New()
	file := imageReader{r: io.TeeReader(r, sum)}
	prefix, err := file.take(uint64(imagePrefix), "its beginning")
	if err != nil {
		return nil, err
	}
	version := binary.LittleEndian.Uint32(prefix[8:])
	headerBytes, streamBytes := binary.LittleEndian.Uint64(prefix[12:]), binary.LittleEndian.Uint64(prefix[20:])
	switch {
	case string(prefix[:8]) != imageMagic:
		return nil, fmt.Errorf("it begins with %q, allowed is %q", prefix[:8], imageMagic)
	case version != imageVersion:
		return nil, fmt.Errorf("its version is %d, allowed is %d", version, imageVersion)
	case headerBytes > maxImageHeader:
		return nil, fmt.Errorf("its header has %d bytes, allowed are %d", headerBytes, maxImageHeader)
	case streamBytes > maxImageStream:
		return nil, fmt.Errorf("its contents have %d bytes, allowed are %d", streamBytes, uint64(maxImageStream))
	}
	text, err := file.take(headerBytes, "its header")
	if err != nil {
		return nil, err
	}
	stream, err := file.take(streamBytes, "its contents")
	if err != nil {
		return nil, err
	}
	want := sum.Sum(nil)
	got, err := file.take(sha256.Size, "its checksum")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(got, want) {
		return nil, fmt.Errorf("the checksum at byte %d is of other bytes: the file was damaged", file.at-sha256.Size)
	}
	if n, err := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return nil, fmt.Errorf("there is more behind its end at byte %d", file.at)
	} else if err != io.EOF {
		return nil, fmt.Errorf("at byte %d, its end: %w", file.at, err)
	}
	header, err := parseHeader(text)
	if err != nil {
		return nil, fmt.Errorf("the header at byte %d: %w", imagePrefix, err)
	}
	contents, err := readPieces(stream, header.Blueprint)
	if err != nil {
		return nil, fmt.Errorf("the contents at byte %d: %w", uint64(imagePrefix)+headerBytes, err)
	}
	return &imageFile{Blueprint: header.Blueprint, Contents: contents, Extra: header.Extra}, nil
}

// imageReader reads parts of a file.
type imageReader struct {
	r  io.Reader
	at uint64
}

// take reads n bytes. It takes no more memory than there are, whatever n is.
func (f *imageReader) take(n uint64, what string) ([]byte, error) {
	var part bytes.Buffer
	got, err := io.CopyN(&part, f.r, int64(n))
	f.at += uint64(got)
	if err == io.EOF {
		return nil, fmt.Errorf("it ends at byte %d, %d bytes before the end of %s: %w", f.at, n-uint64(got), what, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d, in %s: %w", f.at, what, err)
	}
	return part.Bytes(), nil
}

func parseHeader(text []byte) (*imageHeader, error) {
	header := &imageHeader{}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(header); err != nil {
		return nil, fmt.Errorf("about byte %d of it: %w", in.InputOffset(), err)
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more behind its end at byte %d of it", in.InputOffset())
	}
	if header.Blueprint == nil {
		return nil, errors.New("there is no blueprint")
	}
	_, err := header.Blueprint.check()
	return header, err
}

// readPieces reads the contents from the compressed stream.
func readPieces(stream []byte, b *blueprint) ([]content, error) {
	compressed := bytes.NewReader(stream)
	in := flate.NewReader(compressed)
	check := contentCheck{sizes: b.contentSizes()}
	var all []content
	fail := func(err error) ([]content, error) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("piece %d, about byte %d of %d: %w", len(all), len(stream)-compressed.Len(), len(stream), err)
	}
	head := make([]byte, pieceHeader)
	for {
		if _, err := io.ReadFull(in, head[:8]); err != nil {
			return fail(err)
		}
		object := binary.LittleEndian.Uint64(head)
		if object == 0 {
			break
		}
		if _, err := io.ReadFull(in, head[8:]); err != nil {
			return fail(err)
		}
		c := content{Off: binary.LittleEndian.Uint64(head[8:])}
		n := binary.LittleEndian.Uint32(head[16:])
		if object > maxCount {
			return fail(fmt.Errorf("its object is %d, allowed are at most %d", object, maxCount))
		}
		c.Object = int(object)
		if err := check.next(c.Object, c.Off, uint64(n)); err != nil {
			return fail(err)
		}
		c.Data = make([]byte, n)
		if _, err := io.ReadFull(in, c.Data); err != nil {
			return fail(err)
		}
		all = append(all, c)
	}
	if n, err := io.ReadFull(in, head[:1]); n > 0 {
		return fail(errors.New("there is more behind the last"))
	} else if err != io.EOF {
		return fail(err)
	}
	if compressed.Len() > 0 {
		return fail(fmt.Errorf("there are %d bytes behind the stream", compressed.Len()))
	}
	return all, nil
}
