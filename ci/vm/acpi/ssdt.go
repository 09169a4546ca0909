package acpi

import (
	"encoding/binary"
	"fmt"
)

// The commands that a DIMM and the bus are known to have, by their interfaces.
var (
	// 4309ac30-0d11-11e4-9191-0800200c9a66
	intelDIMM = []byte{0x30, 0xac, 0x09, 0x43, 0x11, 0x0d, 0xe4, 0x11, 0x91, 0x91, 0x08, 0x00, 0x20, 0x0c, 0x9a, 0x66}
	// 2f10e7a4-9e91-11e4-89d3-123b93f75cba
	nvdimmRoot = []byte{0xa4, 0xe7, 0x10, 0x2f, 0x91, 0x9e, 0xe4, 0x11, 0x89, 0xd3, 0x12, 0x3b, 0x93, 0xf7, 0x5c, 0xba}
)

// Functions of the bus. Function 0 of any device is a bit for each function that it has.
const (
	arsCapabilities = 1
	arsStart        = 2
	arsStatus       = 3
	clearError      = 4
)

// smart is the function of a DIMM.
const smart = 1

// Statuses, of which the upper half says more.
const (
	notSupported     = 1
	invalidParameter = 2
	scrubPersistent  = 2 << 16 // the range can be scrubbed, as persistent memory
	neverScrubbed    = 2 << 16
)

// Sizes of what scrubs answer.
const (
	arsHeader = 48
	arsRecord = 24
	arsMax    = arsHeader + 4096/arsRecord*arsRecord
)

// ssdt is the devices with their methods.
func ssdt(cfg Config, regions []region) []byte {
	bus := []term{named("_HID", text("ACPI0012"))}
	bus = append(bus, scrubState(cfg, regions)...)
	bus = append(bus, inRegion(regions), busMethod(cfg))
	for i, d := range cfg.DIMMs {
		bus = append(bus, dimm(i, d))
	}
	content := scope("\\_SB_", device("NVDR", bus...))
	return table("SSDT", "NVDIMM\x00\x00", content)
}

// dimm is the device of a DIMM, which the kernel finds by its address.
func dimm(i int, d DIMM) term {
	content := []term{named("_ADR", integer(handle(i)))}
	if d.Health != nil {
		content = append(content, method("_DSM", 4,
			unless(intelDIMM),
			functions(smart),
			ifThen(equal(arg2, integer(smart)), giveBack(buffer(d.Health.smart()))),
			giveBack(statusOnly(4, notSupported))))
	}
	return device(fmt.Sprintf("NV%02X", i), content...)
}

// smart is the answer to the function.
func (h *Health) smart() []byte {
	const countValid, stateValid = 1 << 5, 1 << 10
	answer := make([]byte, 132) // its status, 0, is success
	binary.LittleEndian.PutUint32(answer[4:], countValid|stateValid)
	binary.LittleEndian.PutUint32(answer[20:], h.DirtyShutdowns)
	if h.Dirty {
		answer[35] = 1
	}
	return answer
}

// unless refuses, in front of all else that a _DSM does, every interface but one.
func unless(id []byte) term {
	return ifThen(not(equal(arg0, buffer(id))), giveBack(buffer([]byte{0})))
}

// functions answers function 0.
func functions(numbers ...byte) term {
	mask := byte(1)
	for _, n := range numbers {
		mask |= 1 << n
	}
	return ifThen(not(arg2), giveBack(buffer([]byte{mask})))
}

// statusOnly is an answer of so many bytes that has nothing but a status.
func statusOnly(size int, status uint32) term {
	answer := make([]byte, size)
	binary.LittleEndian.PutUint32(answer, status)
	return buffer(answer)
}

// What the bus remembers, in units of ClearErrorUnit bytes where it's addresses. The answer to
// a scrub's status is SHED, the range that the scrub was of, STAI, and records.
var (
	badUnits     = term("BADU") // a bit for each unit of the bad block that is still bad
	statusHead   = term("SHED")
	scrubStatus  = term("SSTA")
	answerLength = term("SLEN")
	scrubRange   = term("SRNG")
	scrubBegin   = term("SBEG")
	scrubUnits   = term("SUNI")
	statusTail   = term("STAI")
	records      = term("SREC")
	record       = term("RECO")
	recordUnit   = term("RUNI")
)

// upper is where in an address or a length what is more than 8 bits begins: a field of 32
// bits there is the number divided by ClearErrorUnit.
const upper = 1

func scrubState(cfg Config, regions []region) []term {
	le := binary.LittleEndian
	head := le.AppendUint32(nil, neverScrubbed)
	head = le.AppendUint32(head, 0)
	tail := make([]byte, 24)
	const persistent = 2
	le.PutUint16(tail[16:], persistent)
	entry := le.AppendUint32(nil, handleAt(regions, cfg.BadBlock.Address))
	entry = le.AppendUint32(entry, 0)
	entry = le.AppendUint64(entry, 0)
	entry = le.AppendUint64(entry, ClearErrorUnit)
	return []term{
		named(string(badUnits), integer(uint32(1<<(cfg.BadBlock.Length/ClearErrorUnit)-1))),
		named(string(statusHead), buffer(head)),
		dwordField(statusHead, 0, string(scrubStatus)),
		dwordField(statusHead, 4, string(answerLength)),
		named(string(scrubRange), buffer(make([]byte, 16))),
		dwordField(scrubRange, 0+upper, string(scrubBegin)),
		dwordField(scrubRange, 8+upper, string(scrubUnits)),
		named(string(statusTail), buffer(tail)),
		dwordField(statusTail, 20, string(records)),
		named(string(record), buffer(entry)),
		dwordField(record, 8+upper, string(recordUnit)),
	}
}

// handleAt is that of the DIMM that has an address, or 0.
func handleAt(regions []region, address uint64) uint32 {
	for _, r := range regions {
		for i, n := range r.dimms {
			switch offset := address - r.Address; {
			case address < r.Address:
			case len(r.dimms) > 1 && offset < r.Length && offset/lineSize%uint64(len(r.dimms)) == uint64(i):
				return handle(n)
			case len(r.dimms) == 1 && offset < r.Length:
				return handle(n)
			}
		}
	}
	return 0
}

// inRegion is the method that says whether a range, 8 bytes of address and 8 of length in a
// buffer, is inside one region.
func inRegion(regions []region) term {
	var (
		addressLow, address, addressHigh = term("IALO"), term("IADR"), term("IAHI")
		lengthLow, length, lengthHigh    = term("ILLO"), term("ILEN"), term("ILHI")
		units                            = local0
	)
	// The highest 25 bits of both are to be 0: integers needn't overflow below.
	const highest, beyond = 4, 7
	body := []term{
		byteField(arg0, 0, string(addressLow)),
		dwordField(arg0, 0+upper, string(address)),
		dwordField(arg0, 0+highest, string(addressHigh)),
		byteField(arg0, 8, string(lengthLow)),
		dwordField(arg0, 8+upper, string(length)),
		dwordField(arg0, 8+highest, string(lengthHigh)),
		ifThen(either(shiftRight(addressHigh, integer(beyond)), shiftRight(lengthHigh, integer(beyond))), giveBack(integer(0))),
		ifThen(not(bitOr(length, lengthLow)), giveBack(integer(0))),
		// A unit is in the range when a byte of it is.
		add(addressLow, lengthLow, units),
		add(units, integer(ClearErrorUnit-1), units),
		add(shiftRight(units, integer(8)), length, units),
	}
	for _, r := range regions {
		begin, end := integer(uint32(r.Address/ClearErrorUnit)), integer(uint32(r.end()/ClearErrorUnit))
		body = append(body, ifThen(both(not(less(address, begin)), less(address, end)),
			giveBack(not(greater(units, minus(end, address))))))
	}
	return method("INRG", 1, append(body, giveBack(integer(0)))...)
}

// busMethod is the _DSM of the bus.
func busMethod(cfg Config) term {
	input := local0
	inRegion := join(term("INRG"), input)
	return method("_DSM", 4,
		unless(nvdimmRoot),
		functions(arsCapabilities, arsStart, arsStatus, clearError),
		ifThen(equal(arg2, integer(arsStatus)), scrubAnswer(cfg)),
		// The others have a range as input.
		ifThen(greater(arg2, integer(clearError)), giveBack(statusOnly(4, notSupported))),
		store(element(arg3, 0), input),
		ifThen(equal(arg2, integer(arsCapabilities)),
			ifThen(inRegion, giveBack(capabilitiesAnswer())),
			giveBack(statusOnly(16, invalidParameter))),
		ifThen(equal(arg2, integer(arsStart)),
			ifThen(not(inRegion), giveBack(statusOnly(8, invalidParameter))),
			store(middle(input, 0, 16), scrubRange),
			store(integer(0), scrubStatus),
			giveBack(statusOnly(8, 0))),
		clearAnswer(cfg, input, inRegion))
}

func capabilitiesAnswer() term {
	le := binary.LittleEndian
	answer := le.AppendUint32(nil, scrubPersistent)
	answer = le.AppendUint32(answer, arsMax)
	answer = le.AppendUint32(answer, ClearErrorUnit)
	return buffer(le.AppendUint32(answer, 0))
}

// eachBadUnit takes the steps for each unit of the bad block that is bad and lies in
// [begin, begin+units). It uses local1 as the unit's number, from 0, and local2 as the unit.
func eachBadUnit(cfg Config, begin, units term, steps ...term) term {
	var (
		first = integer(uint32(cfg.BadBlock.Address / ClearErrorUnit))
		count = integer(uint32(cfg.BadBlock.Length / ClearErrorUnit))
	)
	bad := bitAnd(badUnits, shiftLeft(integer(1), local1), noTarget)
	inside := less(minus(local2, begin), units) // what lies before begin is far behind it
	return join(store(integer(0), local1),
		while(less(local1, count),
			add(first, local1, local2),
			ifThen(both(bad, inside), steps...),
			increment(local1)))
}

// scrubAnswer gives back what the last scrub has found. A scrub is done at once.
func scrubAnswer(cfg Config) term {
	found := local3
	return join(
		// The length is without the status.
		store(integer(arsHeader-4), answerLength),
		store(integer(0), records),
		store(buffer(nil), found),
		// Before the first scrub the range is empty.
		eachBadUnit(cfg, scrubBegin, scrubUnits,
			store(local2, recordUnit),
			store(concatenate(found, record), found),
			add(records, integer(1), records),
			add(answerLength, integer(arsRecord), answerLength)),
		giveBack(concatenate(concatenate(statusHead, scrubRange), concatenate(statusTail, found))))
}

// clearAnswer clears, and gives back how much that was.
func clearAnswer(cfg Config, input, inRegion term) term {
	addressLow, begin := term("CALO"), term("CBEG")
	lengthLow, units := term("CLLO"), term("CUNI")
	return join(
		byteField(input, 0, string(addressLow)),
		dwordField(input, 0+upper, string(begin)),
		byteField(input, 8, string(lengthLow)),
		dwordField(input, 8+upper, string(units)),
		ifThen(bitOr(addressLow, lengthLow), giveBack(statusOnly(16, invalidParameter))),
		ifThen(not(inRegion), giveBack(statusOnly(16, invalidParameter))),
		eachBadUnit(cfg, begin, units,
			bitAnd(badUnits, bitNot(shiftLeft(integer(1), local1)), badUnits)),
		giveBack(concatenate(buffer(make([]byte, 8)), middle(input, 8, 8))))
}
