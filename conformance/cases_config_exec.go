package conformance

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

// returnInstruction is the machine code of one return instruction, nil where it
// isn't known. It is all of the code that callReturn is used with.
func returnInstruction() []byte {
	switch runtime.GOARCH {
	case "amd64":
		return []byte{0xc3} // RET
	case "arm64":
		return binary.LittleEndian.AppendUint32(nil, 0xd65f03c0) // RET (X30)
	}
	return nil
}

// callReturn calls the return instruction at code.
//
// It is sound: a Go func value points at a word that holds the address of the
// code, and that word is on the heap for as long as it is called. The code takes
// no arguments, gives no results, and uses neither stack nor registers; it
// returns to where the call left the return address, on the stack (amd64) or in
// X30 (arm64). The runtime can't stop the goroutine inside: an address that it
// knows no function for is never a safe point.
func callReturn(code uintptr) {
	value := &struct{ code uintptr }{code}
	call := *(*func())(unsafe.Pointer(&value))
	call()
	runtime.KeepAlive(value)
}
