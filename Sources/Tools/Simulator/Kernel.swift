/// A node's addresses: the record, the thread's view and the kernel's, of each VIP, and how busy the thread is.
///
/// The kernel keeps what it was given until it is told otherwise or the lease ends, whatever becomes of the daemon. The thread
/// works off its orders one after the other, some time after they were given, and reads the record last.
struct Kernel {
  private(set) var places: [Place]
  /// Until then the thread is at work on earlier orders.
  private(set) var busyUntil: Int64 = 0
  /// How often each VIP was put back of late, and since when: beyond a few in a second the thread gives up.
  private var putBacks: [(count: Int, since: Int64)]

  static let mostPutBacks = 50

  init(vips: Int) {
    places = Array(repeating: Place(), count: vips)
    putBacks = Array(repeating: (0, 0), count: vips)
  }

  @inline(__always)
  mutating func with<Result>(_ vip: Int, _ body: (inout Place) -> Result) -> Result { body(&places[vip]) }

  /// When the thread gets to an order that is given now.
  mutating func queue(now: Int64, pause: Int64, work: Int64) -> Int64 {
    let reads = max(busyUntil, now) + pause
    busyUntil = reads + work
    return reads
  }

  /// It has more to do than it was told of: what it had begun before it was stopped.
  mutating func isBusy(until time: Int64) { busyUntil = max(busyUntil, time) }

  /// Whether another theft is answered.
  mutating func isPatient(_ vip: Int, now: Int64) -> Bool {
    if now - putBacks[vip].since > 50_000_000_000 { putBacks[vip] = (0, now) }
    putBacks[vip].count += 1
    return putBacks[vip].count <= Self.mostPutBacks
  }

  /// A daemon starts, with a record of its own: what an earlier life left is removed.
  mutating func begin(sweeps: Bool) {
    for vip in places.indices {
      let old = places[vip]
      places[vip] = Place()
      if !sweeps {
        places[vip].isPresent = old.isPresent
        places[vip].expiry = old.expiry
      }
      putBacks[vip] = (0, 0)
    }
    busyUntil = 0
  }

  /// The interface is gone, and all that was on it.
  mutating func interfaceGone() { for vip in places.indices { places[vip].removeFromOutside() } }
}
