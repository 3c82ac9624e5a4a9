import Basis
import Testing

@testable import Linux

@Suite struct ClockTests {
  @Test(
    arguments: [
      (0, "1970-01-01T00:00:00.000000Z"),
      (951_782_399_999_999_000, "2000-02-28T23:59:59.999999Z"),
      (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
      (1_709_164_800_000_042_000, "2024-02-29T00:00:00.000042Z"),
      (-1_000, "1969-12-31T23:59:59.999999Z"),
    ] as [(Int64, String)])
  func `wall time is written and read as RFC 3339`(nanoseconds: Int64, text: String) {
    #expect(WallTime(nanoseconds: nanoseconds).description == text)
    #expect(WallTime(text)?.nanoseconds == nanoseconds)
  }

  @Test func `an offset and any number of digits are read`() {
    #expect(WallTime("2000-02-29t01:30:00.1234567891+01:30")?.nanoseconds == 951_782_400_123_456_789)
    #expect(WallTime("2000-02-28T22:00:00-02:00")?.nanoseconds == 951_782_400_000_000_000)
  }

  @Test(arguments: [
    "", "2000-02-30T00:00:00Z", "2001-02-29T00:00:00Z", "2000-13-01T00:00:00Z", "2000-01-01T24:00:00Z",
    "2000-01-01T00:00:00",
    "2000-01-01T00:00:00.Z", "2000-01-01T00:00:00Zx", "9999-01-01T00:00:00Z",
  ])
  func `what is no time is refused`(text: String) {
    #expect(WallTime(text) == nil)
  }

  @Test func `the clock since boot goes forward`() {
    let first = Clock.now()
    #expect(first.nanoseconds > 0)
    #expect(Clock.now() >= first)
  }
}

@Suite struct SystemErrorTests {
  @Test func `an error says what, on what, why, and what to do`() {
    let text = SystemError(call: "bind", code: 98, subject: "10.0.0.1:80").description
    #expect(text.hasPrefix("bind 10.0.0.1:80: Address already in use; "))
  }
}
