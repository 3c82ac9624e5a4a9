/// What a virtual router has sent, heard and dropped. Every message counts exactly once, in `accepted` or as one discard.
public struct Counters: Sendable {
  /// Messages that passed every check, whatever the machine then did with them.
  public var accepted: UInt64 = 0
  /// Of these, the ones with priority 0.
  public var farewells: UInt64 = 0
  /// Of these, the ones that lost against this router and changed nothing.
  public var losing: UInt64 = 0
  /// VRRPv3 over IPv4 whose checksum counts the pseudo-header.
  public var checksumPseudoHeader: UInt64 = 0
  /// VRRPv3 over IPv4 whose checksum counts the message only.
  public var checksumMessage: UInt64 = 0
  /// Accepted adverts whose interval is not the configured one.
  public var intervalMismatches: UInt64 = 0
  /// Accepted adverts that taught a longer interval than the configured one, and so made this backup slower
  /// (RFC 9568 §6.4.2; a forged 40.95 s is seen here).
  public var intervalStretched: UInt64 = 0
  /// Accepted adverts whose list of addresses is not the configured one.
  public var addressMismatches: UInt64 = 0
  /// Adverts given to every destination, ordinary and extra.
  public var sent: UInt64 = 0
  /// Of these, the ones with priority 0.
  public var sentFarewells: UInt64 = 0
  /// Of these, the ones that answered a losing advert.
  public var reasserted: UInt64 = 0
  public var becameActive: UInt64 = 0
  public var becameBackup: UInt64 = 0

  private var discards = InlineArray<18, UInt64>(repeating: 0)

  public init() {}

  /// How often a message was dropped for this reason.
  public internal(set) subscript(_ reason: Discard) -> UInt64 {
    get { discards[Int(reason.rawValue)] }
    set { discards[Int(reason.rawValue)] = newValue }
  }

  /// All messages dropped.
  public var discarded: UInt64 { Discard.allCases.reduce(0) { $0 &+ self[$1] } }
}

extension Counters: Equatable {
  public static func == (left: Counters, right: Counters) -> Bool {
    left.accepted == right.accepted && left.farewells == right.farewells && left.losing == right.losing
      && left.checksumPseudoHeader == right.checksumPseudoHeader && left.checksumMessage == right.checksumMessage
      && left.intervalMismatches == right.intervalMismatches && left.intervalStretched == right.intervalStretched
      && left.addressMismatches == right.addressMismatches && left.sent == right.sent
      && left.sentFarewells == right.sentFarewells && left.reasserted == right.reasserted
      && left.becameActive == right.becameActive && left.becameBackup == right.becameBackup
      && Discard.allCases.allSatisfy { left[$0] == right[$0] }
  }
}
