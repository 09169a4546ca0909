package fuzz

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"pmemlab/emu"
)

// The file of an image: see the description of the format in emu/image_file.go.
const (
	imagePrefix     = 8 + 4 + 8 + 8
	imagePieceHead  = 8 + 8 + 4
	longestPiece    = 1 << 20
	imageObjects    = 7 // the largest number of one
	imageObjectSize = 10000
)

// imageFiles are a valid file, its parts, and what is needed to make others.
type imageFiles struct {
	whole   []byte
	header  []byte
	plain   []byte // the header without a trace
	stream  []byte // the pieces, not compressed
	sizes   [imageObjects + 2]uint64
	deflate *flate.Writer
	store   *flate.Writer // likewise, but fast
	file    bytes.Buffer
	data    []byte
	saved   [2]bytes.Buffer
}

// make makes the valid file: of a machine with a device DAX of 4 MiB, whose number is 3, and a
// file of 10,000 bytes, whose number is 7.
func (f *imageFiles) make() error {
	var err error
	if f.deflate, err = flate.NewWriter(nil, flate.BestSpeed); err != nil {
		return err
	}
	if f.store, err = flate.NewWriter(nil, flate.NoCompression); err != nil {
		return err
	}
	image, err := imageOfMachine()
	if err != nil {
		return err
	}
	header, stream, err := splitImage(image)
	if err != nil {
		return err
	}
	// Without most of sysfs a file is short.
	var parts, blueprint map[string]json.RawMessage
	if err := json.Unmarshal(header, &parts); err != nil {
		return err
	}
	if err := json.Unmarshal(parts["Blueprint"], &blueprint); err != nil {
		return err
	}
	blueprint["Sysfs"] = json.RawMessage(`{"Kind":"dir","Children":[{"Name":"bus","Kind":"dir"}]}`)
	if parts["Blueprint"], err = json.Marshal(blueprint); err != nil {
		return err
	}
	if f.header, err = json.Marshal(parts); err != nil {
		return err
	}
	delete(parts, "Extra")
	if f.plain, err = json.Marshal(parts); err != nil {
		return err
	}
	f.stream = stream
	f.sizes = [...]uint64{3: 4 << 20, 5: mib, 7: imageObjectSize, 8: 0}
	f.whole = bytes.Clone(f.seal(f.header, f.stream, f.deflate))
	if _, err := emu.Load(bytes.NewReader(f.whole)); err != nil {
		return fmt.Errorf("the valid image: %w", err)
	}
	return nil
}

// imageOfMachine is the file of a machine whose power failed.
func imageOfMachine() (file []byte, err error) {
	m := emu.NewMachine(emu.Config{TraceEvents: 16})
	defer func() { err = errors.Join(err, m.Shutdown()) }()
	device := m.AddDevDax(emu.DevDax{Size: 4 << 20})
	fs := m.AddFS(emu.FS{Size: mib, DAX: true})
	if err := m.Err(); err != nil {
		return nil, err
	}
	made, err := fs.Create("file", imageObjectSize)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(made.Close(), device.AddBadBlock(8192, 1)); err != nil {
		return nil, err
	}
	fd, err := m.Open(fs.Path("file"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	_, err = m.Pwrite(fd, []byte("what was written"), 4090)
	if err = errors.Join(err, m.Fsync(fd), m.Close(fd)); err != nil {
		return nil, err
	}
	states, err := m.CrashStates(emu.CrashOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, states.Close()) }()
	for image, err := range states.All() {
		var b bytes.Buffer
		if err == nil {
			err = image.Save(&b)
		}
		return b.Bytes(), err
	}
	return nil, errors.New("the machine leaves nothing behind")
}

// splitImage takes a valid file apart.
func splitImage(file []byte) (header, stream []byte, err error) {
	if len(file) < imagePrefix+sha256.Size {
		return nil, nil, io.ErrUnexpectedEOF
	}
	h, n := binary.LittleEndian.Uint64(file[12:]), binary.LittleEndian.Uint64(file[20:])
	rest := file[imagePrefix : len(file)-sha256.Size]
	if uint64(len(rest)) < h || uint64(len(rest))-h != n {
		return nil, nil, io.ErrUnexpectedEOF
	}
	stream, err = io.ReadAll(flate.NewReader(bytes.NewReader(rest[h:])))
	return rest[:h], stream, err
}

// seal makes a file of a header and pieces, in a buffer that the next call uses again.
func (f *imageFiles) seal(header, stream []byte, by *flate.Writer) []byte {
	f.file.Reset()
	f.file.WriteString("pmemlab\n\x01\x00\x00\x00")
	f.file.Write(make([]byte, 16))
	f.file.Write(header)
	by.Reset(&f.file)
	_, err1 := by.Write(stream)
	if err := errors.Join(err1, by.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	b := f.file.Bytes()
	binary.LittleEndian.PutUint64(b[12:], uint64(len(header)))
	binary.LittleEndian.PutUint64(b[20:], uint64(len(b)-imagePrefix-len(header)))
	sum := sha256.Sum256(b)
	f.file.Write(sum[:])
	return f.file.Bytes()
}

// readImage loads a file, and holds that what was loaded is the same when it's saved and loaded again.
// It returns the file that was saved.
func (f *imageFiles) readImage(file []byte) (saved []byte, err error) {
	image, err := emu.Load(bytes.NewReader(file))
	if err != nil {
		if image != nil {
			return nil, errors.New("an image is returned with an error")
		}
		return nil, nil
	}
	for n := range f.saved {
		f.saved[n].Reset()
		if err := image.Save(&f.saved[n]); err != nil {
			return nil, fmt.Errorf("what was loaded can't be saved: %w", err)
		}
		if n > 0 { // it is what was loaded before, or differs
			break
		}
		if image, err = emu.Load(bytes.NewReader(f.saved[n].Bytes())); err != nil {
			return nil, fmt.Errorf("what was saved can't be loaded: %w", err)
		}
	}
	if !bytes.Equal(f.saved[0].Bytes(), f.saved[1].Bytes()) {
		return nil, errDiffers
	}
	return f.saved[0].Bytes(), nil
}

// runImage edits a file anywhere. Its checksum then tells; but a whole file is anything.
func (i *filesInstance) runImage(input []byte) (bool, error) {
	b := i.edited(i.image.whole, input)
	saved, err := i.image.readImage(b)
	if err == nil && (saved != nil) != bytes.Equal(b, i.image.whole) && (len(input) == 0 || input[0] != wholeFile) {
		err = fmt.Errorf("got an image: %t, want one: %t", saved != nil, saved == nil)
	}
	return saved != nil, err
}

// runImageHeader edits what is told of the machine, and makes lengths and checksum right.
func (i *filesInstance) runImageHeader(input []byte) (bool, error) {
	b := i.edited(i.image.header, input)
	saved, err := i.image.readImage(i.image.seal(b, i.image.stream, i.image.store))
	if err == nil && saved != nil && !json.Valid(b) {
		err = errors.New("a header that isn't JSON is accepted")
	}
	return saved != nil, err
}

// imagePiece is a piece of content in an input.
type imagePiece struct {
	Object, Data, Cut byte
	Off, Length       Number
}

// Layout is how it lies in bytes.
func (p *imagePiece) Layout(c *Codec) {
	c.Byte(&p.Object)
	c.Byte(&p.Data)
	c.Byte(&p.Cut)
	c.Number(&p.Off)
	c.Number(&p.Length)
}

// longestCut in Cut asks for the longest piece, or one that is a byte longer.
const longestCut = 229

// object is the number of the piece's object.
func (p *imagePiece) object() uint64 {
	if p.Object >= 250 {
		return 1<<40 + uint64(p.Object)
	}
	return [8]uint64{3, 3, 7, 7, 7, 5, 2, 8}[p.Object%8]
}

// runImagePieces makes a file of bad bytes and of pieces, and knows whether they are allowed, and what is then
// on the media.
func (i *filesInstance) runImagePieces(input []byte) (bool, error) {
	f := &i.image
	var end byte
	if len(input) > 0 {
		end, input = input[0], input[1:]
	}
	var bad imagePiece
	input = Decode(input, &bad)
	badObject := [8]uint64{3, 7, 5, 3, 7, 7, 9, 0}[bad.Data%8]
	badSize := uint64(0)
	if badObject < uint64(len(f.sizes)) {
		badSize = f.sizes[badObject]
	}
	around := Around{Page: 4096, Align: 512, Size: badSize}
	badOff := bad.Off.In(around)
	around.Other = badOff
	badLength := bad.Length.In(around)
	i.pieces = DecodeAll(input, i.pieces[:0], 6)
	stream := i.text[:0]
	media := map[[2]uint64]byte{} // by object and offset, what isn't zero
	valid, behind, object := true, uint64(0), uint64(0)
	for _, p := range i.pieces {
		o, size := p.object(), uint64(0)
		if o < uint64(len(f.sizes)) {
			size = f.sizes[o]
		}
		around = Around{Page: 4096, Align: 64, Size: size, Other: behind}
		off := p.Off.In(around)
		around.Other = off
		n := p.Length.In(around) % (longestPiece + 2)
		if p.Cut < 250 && size > 0 { // mostly inside the object, behind the piece before
			off %= size
			if o == object && off < behind {
				off = behind
			}
			if n%1024 == 0 || n > size-min(off, size) {
				n = min(n%1024+1, size-min(off, size))
			}
		}
		switch {
		case p.Cut >= 230 && p.Cut < 250: // the last byte of the piece before once more
			off -= min(off, 1)
		case p.Cut >= 210 && p.Cut < longestCut && size > 0: // a byte behind the end
			n %= 512
			off, n = size-n, n+1
		case p.Cut == longestCut && o == 3:
			off, n = 0, longestPiece+uint64(p.Data%2)
		}
		valid = valid && n > 0 && n <= longestPiece && off <= size && n <= size-off &&
			(o > object || o == object && off >= behind)
		stream = binary.LittleEndian.AppendUint64(stream, o)
		stream = binary.LittleEndian.AppendUint64(stream, off)
		stream = binary.LittleEndian.AppendUint32(stream, uint32(n))
		// As long as it says, or a byte shorter.
		data := n
		if p.Cut == 255 {
			data, valid = n-min(n, 1), false
		}
		from := len(stream)
		stream = append(stream, f.zeroes(data)...)
		for k, at := range [...]uint64{0, data / 2, data - min(data, 1)} {
			if at < data {
				stream[from+int(at)] = p.Data + byte(k)
			}
		}
		for _, at := range [...]uint64{0, data / 2, data - min(data, 1)} {
			if valid && stream[from+int(at)] != 0 {
				media[[2]uint64{o, off + at}] = stream[from+int(at)]
			}
		}
		object, behind = o, off+n
	}
	switch {
	case end < 240:
		stream = append(stream, make([]byte, 8)...)
	case end < 245: // there is no end
		valid = false
	case end < 250:
		stream, valid = append(stream, 0, 0, 0, 0, 0, 0, 0), false
	default:
		stream, valid = append(stream, 0, 0, 0, 0, 0, 0, 0, 0, end), false
	}
	i.text = stream
	header := f.plain
	if bad.Object%4 == 3 {
		header = append(f.header[:0:0], f.plain[:len(f.plain)-1]...)
		header = fmt.Appendf(header, `,"Extra":{"Bad":[{"Object":%d,"Off":%d,"Len":%d}]}}`, badObject, badOff, badLength)
		valid = valid && badLength > 0 && badOff <= badSize && badLength <= badSize-badOff
	}
	saved, err := f.readImage(f.seal(header, stream, f.store))
	if err != nil || saved == nil {
		if err == nil && valid {
			err = fmt.Errorf("pieces %+v and end %d: got an error, want an image", i.pieces, end)
		}
		return false, err
	}
	if !valid {
		return false, fmt.Errorf("pieces %+v and end %d: got an image, want an error", i.pieces, end)
	}
	return true, onMedia(saved, media)
}

// zeroes are n bytes.
func (f *imageFiles) zeroes(n uint64) []byte {
	if uint64(len(f.data)) < n {
		f.data = make([]byte, n)
	}
	return f.data[:n]
}

// onMedia says whether a saved image holds these bytes, the others being zero.
func onMedia(saved []byte, media map[[2]uint64]byte) error {
	_, stream, err := splitImage(saved)
	if err != nil {
		return err
	}
	found := 0
	for len(stream) >= imagePieceHead {
		object, off := binary.LittleEndian.Uint64(stream), binary.LittleEndian.Uint64(stream[8:])
		n := binary.LittleEndian.Uint32(stream[16:])
		data := stream[imagePieceHead:][:n]
		for at := 0; at < len(data); at++ {
			skip := bytes.IndexFunc(data[at:], func(r rune) bool { return r != 0 })
			if skip < 0 {
				break
			}
			at += skip
			if want := media[[2]uint64{object, off + uint64(at)}]; data[at] != want {
				return fmt.Errorf("the byte at %d of object %d is %d, want %d", off+uint64(at), object, data[at], want)
			}
			found++
		}
		stream = stream[imagePieceHead+n:]
	}
	if found != len(media) {
		return fmt.Errorf("%d bytes are on the media, want %d", found, len(media))
	}
	return nil
}
