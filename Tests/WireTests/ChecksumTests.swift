import Basis
import Testing
import Wire

@Suite struct `The Internet checksum` {
  @Test func `sums the example of RFC 1071`() {
    var sum = Checksum()
    sum.add(hex("00 01 f2 03 f4 f5 f6 f7"))
    #expect(sum.folded == 0xDDF2)
    #expect(sum.value == 0x220D)
  }

  @Test func `an odd last byte counts as the high half of a word`() {
    var sum = Checksum()
    sum.add(hex("12 34 56"))
    #expect(sum.folded == 0x1234 + 0x5600)
  }

  @Test func `nothing sums to zero`() { #expect(Checksum().value == 0xFFFF) }

  @Test func `pieces sum to the same as the whole`() {
    var random = SplitMix64(seed: 1071)
    for _ in 0..<500 {
      let bytes = (0..<random.next(below: 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let cut = Int(random.next(below: UInt64(bytes.count / 2 + 1))) * 2
      var whole = Checksum()
      whole.add(bytes)
      var pieces = Checksum()
      pieces.add(Array(bytes[..<cut]))
      pieces.add(Array(bytes[cut...]))
      #expect(pieces.folded == whole.folded)
      // And to what the definition says, word by word.
      var plain = 0
      for index in stride(from: 0, to: bytes.count, by: 2) {
        plain += Int(bytes[index]) << 8 + (index + 1 < bytes.count ? Int(bytes[index + 1]) : 0)
      }
      while plain > 0xFFFF { plain = plain & 0xFFFF + plain >> 16 }
      #expect(Int(whole.folded) == plain)
    }
  }

  @Test func `a megabyte of ones doesn't overflow`() {
    var sum = Checksum()
    for _ in 0..<64 { sum.add([UInt8](repeating: 0xFF, count: 1 << 14)) }
    #expect(sum.folded == 0xFFFF)
  }

  @Test func `addresses of two families have no pseudo-header`() {
    var sum = Checksum()
    let added = sum.addPseudoHeader(from: .v4(.any), to: .v6(.any), protocol: 17, length: 8)
    #expect(!added)
    #expect(sum == Checksum())
  }

  @Test func `a start outside the array adds nothing`() {
    var sum = Checksum()
    sum.add([1, 2], from: 3)
    sum.add([1, 2], from: -1)
    #expect(sum == Checksum())
  }
}
