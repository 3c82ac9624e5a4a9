// Reading and writing numbers in network order. Each codec checks a length once and then uses these.

extension RawSpan {
  @inline(__always)
  public func byte(_ offset: Int) -> UInt8 {
    // Checked against the span's bounds; "unsafe" speaks of the type only, and every bit pattern is a `UInt8`.
    unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
  }

  @inline(__always)
  public func number<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as _: Number.Type = Number.self)
    -> Number
  {
    // As above: bounds are checked, and every bit pattern is a number.
    Number(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Number.self))
  }

  @inline(__always)
  public func mac(_ offset: Int) -> MACAddress {
    MACAddress(rawValue: UInt64(number(offset, as: UInt16.self)) << 32 | UInt64(number(offset + 2, as: UInt32.self)))
  }

  @inline(__always)
  public func ipv4(_ offset: Int) -> IPv4Address { IPv4Address(rawValue: number(offset)) }

  @inline(__always)
  public func ipv6(_ offset: Int) -> IPv6Address { IPv6Address(rawValue: number(offset)) }
}

extension Array<UInt8> {
  /// Appends a number, most significant byte first. Inlinable: called through its witness tables it was a quarter of what an advert costs.
  @inlinable
  public mutating func append<Number: FixedWidthInteger>(bigEndian number: Number) {
    var shift = Number.bitWidth - 8
    while shift >= 0 {
      append(UInt8(truncatingIfNeeded: number >> shift))
      shift -= 8
    }
  }

  public mutating func append(_ mac: MACAddress) {
    append(bigEndian: UInt16(truncatingIfNeeded: mac.rawValue >> 32))
    append(bigEndian: UInt32(truncatingIfNeeded: mac.rawValue))
  }

  public mutating func append(_ address: IPAddress) {
    switch address {
    case .v4(let v4): append(bigEndian: v4.rawValue)
    case .v6(let v6): append(bigEndian: v6.rawValue)
    }
  }

  /// Overwrites two bytes. Outside the array nothing happens.
  mutating func put(_ number: UInt16, at offset: Int) {
    guard offset >= 0, offset + 2 <= count else { return }
    self[offset] = UInt8(number >> 8)
    self[offset + 1] = UInt8(number & 255)
  }
}
