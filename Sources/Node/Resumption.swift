import Basis
import VRRP
import Wire

/// What a process hands to another one that goes on in its place, as bytes: they may be of different versions.
public struct Resumption: Sendable, Hashable {
  /// By name, for the other process may know it under another number.
  public struct VIP: Sendable, Hashable {
    public var name: String
    public var generation: UInt64
    /// The addresses are on the interface by this node's doing.
    public var isHeld: Bool
    /// When the kernel takes them away by itself.
    public var until: Instant?
    /// Nil: it takes no part, or its election is fixed.
    public var router: VirtualRouter.Resumption?
    /// Where it is in its announcements.
    public var announced: Int
    public var announcement: Instant?
    public var since: Instant?
    public var reason: String
    /// The move that brought it here.
    public var arrivedBy: UInt64?
    /// The peer that it was moved to, by name: it is left alone there.
    public var leftAlone: String?
    /// The sequence of the last advert that was signed for it: those of the other process come after it, whatever the clock says.
    public var signed: UInt64?
  }

  public struct Backend: Sendable, Hashable {
    public var service: String
    public var name: String
    public var isUp: Bool
  }

  /// Something that is tracked. Without it a node whose tracker is bad would take part until the next look.
  public struct Tracker: Sendable, Hashable {
    public var name: String
    public var isBad: Bool
    public var message: String
  }

  public var vips: [VIP] = []
  /// Those of which something is known.
  public var backends: [Backend] = []
  public var trackers: [Tracker] = []
  public var isStandby = false

  public init() {}
}

// MARK: - As bytes

extension Resumption {
  /// Of the bytes. A process that doesn't know it refuses, and the other one goes on.
  static let form: UInt8 = 2

  public var bytes: [UInt8] {
    var bytes: [UInt8] = []
    encode(into: &bytes)
    return bytes
  }

  public init(_ bytes: [UInt8]) throws(RecordingError) {
    var input = BytesIn(bytes)
    try self.init(from: &input)
  }

  func encode(into bytes: inout [UInt8]) {
    bytes.append(Self.form)
    BytesOut.flag(isStandby, &bytes)
    BytesOut.number(vips.count, &bytes)
    for vip in vips { vip.encode(into: &bytes) }
    BytesOut.number(backends.count, &bytes)
    for backend in backends {
      BytesOut.text(backend.service, &bytes)
      BytesOut.text(backend.name, &bytes)
      BytesOut.flag(backend.isUp, &bytes)
    }
    BytesOut.number(trackers.count, &bytes)
    for tracker in trackers {
      BytesOut.text(tracker.name, &bytes)
      BytesOut.flag(tracker.isBad, &bytes)
      BytesOut.text(tracker.message, &bytes)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    guard try bytes.byte() == Self.form else { throw bytes.malformed("another form of a hand-over between processes") }
    isStandby = try bytes.flag()
    for _ in 0..<(try bytes.count()) { vips.append(try VIP(from: &bytes)) }
    for _ in 0..<(try bytes.count()) {
      let service = try bytes.text()
      let name = try bytes.text()
      backends.append(Backend(service: service, name: name, isUp: try bytes.flag()))
    }
    for _ in 0..<(try bytes.count()) {
      let name = try bytes.text()
      let isBad = try bytes.flag()
      trackers.append(Tracker(name: name, isBad: isBad, message: try bytes.text()))
    }
  }
}

extension Resumption.VIP {
  fileprivate func encode(into bytes: inout [UInt8]) {
    BytesOut.text(name, &bytes)
    BytesOut.number(generation, &bytes)
    BytesOut.flag(isHeld, &bytes)
    BytesOut.instant(until, &bytes)
    BytesOut.number(announced, &bytes)
    BytesOut.instant(announcement, &bytes)
    BytesOut.instant(since, &bytes)
    BytesOut.text(reason, &bytes)
    BytesOut.flag(arrivedBy != nil, &bytes)
    if let arrivedBy { BytesOut.number(arrivedBy, &bytes) }
    BytesOut.flag(leftAlone != nil, &bytes)
    if let leftAlone { BytesOut.text(leftAlone, &bytes) }
    BytesOut.flag(signed != nil, &bytes)
    if let signed { BytesOut.number(signed, &bytes) }
    BytesOut.flag(router != nil, &bytes)
    guard let router else { return }
    BytesOut.flag(router.isActive, &bytes)
    for time in [router.adverAt, router.downAt, router.holdUntil, router.postponedUntil, router.preemptFrom] {
      BytesOut.signed(time.nanoseconds, &bytes)
    }
    bytes.append(router.preempt.map { $0 ? 2 : 1 } ?? 0)
    BytesOut.duration(router.interval, &bytes)
    BytesOut.flag(router.isSuccessor, &bytes)
    BytesOut.flag(router.owner != nil, &bytes)
    guard let owner = router.owner else { return }
    owner.address.encode(into: &bytes)
    bytes.append(owner.priority)
    BytesOut.signed(owner.heard.nanoseconds, &bytes)
  }

  fileprivate init(from bytes: inout BytesIn) throws(RecordingError) {
    name = try bytes.text()
    generation = try bytes.number()
    // One life would take centuries to get there, and the next must have a number.
    guard generation < 1 << 62 else { throw bytes.malformed("no number of an ownership") }
    isHeld = try bytes.flag()
    until = try bytes.instant()
    announced = try bytes.index()
    announcement = try bytes.instant()
    since = try bytes.instant()
    reason = try bytes.text()
    if try bytes.flag() { arrivedBy = try bytes.number() }
    if try bytes.flag() { leftAlone = try bytes.text() }
    if try bytes.flag() { signed = try bytes.number() }
    guard try bytes.flag() else { return }
    let isActive = try bytes.flag()
    // "Never" and "always" are times, too: the whole range is good here.
    var times: [Instant] = []
    for _ in 0..<5 { times.append(Instant(nanoseconds: try bytes.signed())) }
    let preempt = try bytes.byte()
    let interval = try bytes.duration()
    guard .milliseconds(1) ... .seconds(300) ~= interval else { throw bytes.malformed("no interval of adverts") }
    let isSuccessor = try bytes.flag()
    var owner: VirtualRouter.Owner?
    if try bytes.flag() {
      let address = try IPAddress(from: &bytes)
      let priority = try bytes.byte()
      owner = .init(address: address, priority: priority, heard: Instant(nanoseconds: try bytes.signed()))
    }
    router = .init(
      isActive: isActive, adverAt: times[0], downAt: times[1], holdUntil: times[2], postponedUntil: times[3],
      preemptFrom: times[4], preempt: preempt == 0 ? nil : preempt == 2, interval: interval,
      isSuccessor: isSuccessor, owner: owner)
  }
}

extension BytesOut {
  static func instant(_ time: Instant?, _ bytes: inout [UInt8]) {
    flag(time != nil, &bytes)
    if let time { signed(time.nanoseconds, &bytes) }
  }
}
