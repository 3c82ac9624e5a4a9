import Basis
import Guardian
import Linux
import Node
import Telemetry
import VRRP
import Wire

// The loop and its guardian: a beat at each wake-up; what the guardian has to know; and, when it found the loop dead that was only
// asleep, its verdict taken over before anything else is handled or sent.

/// What the loop knows of the guardian's doings.
struct Fence {
  /// Of the record, as it was taken over last.
  fileprivate(set) var epoch: UInt64 = 0
  /// The node is being told that it is deposed: it says nothing meanwhile.
  fileprivate(set) var isMute = false
  /// VIPs whose charge may have changed, each once.
  fileprivate var stale: [Int] = []
  private var isStale: [Bool] = []
  /// For each VIP, the devices of its virtual MAC as the address thread told them last.
  private var devices: [Charge.Devices] = []
  /// Of the elections, as the guardian was told last.
  fileprivate var keyChanges: UInt64 = 0

  mutating func recharge(_ vip: Int) {
    while isStale.count <= vip { isStale.append(false) }
    guard !isStale[vip] else { return }
    isStale[vip] = true
    stale.append(vip)
  }

  fileprivate mutating func isCharged() {
    for vip in stale { isStale[vip] = false }
    stale.removeAll(keepingCapacity: true)
  }

  mutating func learn(device index: Int32, of vip: Int, _ family: AddressFamily) {
    while devices.count <= vip { devices.append(Charge.Devices(ipv4: 0, ipv6: 0)) }
    devices[vip][family] = index
    recharge(vip)
  }

  /// What a VIP's virtual MAC is on; 0 where the address thread has told of none.
  fileprivate func devices(of vip: Int) -> Charge.Devices {
    devices.indices.contains(vip) ? devices[vip] : Charge.Devices(ipv4: 0, ipv6: 0)
  }
}

extension Loop {
  var record: OwnershipRecord { parts.addresses.record }

  func attachGuardian() throws(SystemError) {
    elections.onOpen = { [unowned self] in parts.guardian.lend($0) }
    elections.onClose = { [unowned self] in parts.guardian.unlend($0) }
    let log = parts.log
    try parts.guardian.attach(to: reactor, doElsewhere: { log.perform($0) }) { [unowned self] in receive($0) }
  }

  /// After each wait, before anything is handled.
  func woke() {
    record.beat()
    if record.epoch != fence.epoch { acceptDeposition() }
  }

  /// The guardian has given VIPs up, and the loop has not been told of it yet.
  var isDeposed: Bool { fence.isMute || record.epoch != fence.epoch }

  /// The guardian took this loop for dead. It is no longer the owner, so it says nothing, not even a farewell: others own the VIPs by now.
  private func acceptDeposition() {
    let now = Clock.now()
    fence.epoch = record.epoch
    fence.isMute = true
    // The old ones lead nowhere: what a thread of this process was about to send when it was stopped went there.
    for (interface, error) in elections.reopen(reactor) { trouble(on: interface, because: error, at: now) }
    for vip in settings.vips.indices {
      guard let generation = record.deposed(vip) else { continue }
      give(.address(vip: vip, .revoked(generation: generation)), at: now)
      record.acknowledge(vip, generation: generation)
    }
    fence.isMute = false
  }

  /// At the end of each turn. Nearly always there is nothing to tell, and then nothing is made: the guardian's keeper compares what it
  /// is given with what it told, so a change that is none for the guardian ends here.
  func tellGuardian() {
    if elections.keyChanges != fence.keyChanges {
      fence.keyChanges = elections.keyChanges
      for vip in settings.vips.indices { fence.recharge(vip) }
    }
    if isUnguarded { return parts.guardian.turned(isOnlyLife: false) }
    if !fence.stale.isEmpty {
      for vip in fence.stale where settings.vips.indices.contains(vip) { parts.guardian.charge(vip, charge(vip)) }
      fence.isCharged()
    }
    parts.guardian.turned()
  }

  private func charge(_ vip: Int) -> Charge? {
    let settings = settings.vips[vip]
    guard let interface = interfaces[settings.interface], interface.exists else { return nil }
    var interval: Duration?
    var farewells: [Charge.Farewell] = []
    if let router = node.vips[vip].router {
      interval = router.settings.interval
      farewells = router.farewells.map { farewell in
        let destination: IPAddress =
          switch farewell.destination {
          case .multicast: router.settings.family.vrrpGroup
          case .unicast(let peer): peer
          }
        return .init(
          interface: interface.index, source: farewell.source, destination: destination, message: farewell.message)
      }
    }
    return Charge(
      interval: interval, hasServices: self.settings.services.contains { $0.vip == vip }, addresses: settings.addresses,
      interface: interface.index, devices: elections.hasVirtualMAC(vip) ? fence.devices(of: vip) : nil,
      farewells: farewells,
      key: elections.signingKey(of: vip).map { key in
        Charge.Key(id: key.id, bytes: key.bytes.withBytes { Array($0) })
      })
  }

  private func receive(_ report: GuardianKeeper.Report) { Self.write(report, parts.log) }

  static func write(_ report: GuardianKeeper.Report, _ log: Log) {
    switch report {
    case .watches(let pid): log.write(.notice, "the guardian watches, as process \(pid)")
    case .hung(let pid, let silence):
      log.write(
        .error,
        "the guardian (process \(pid)) has not turned for \(silence.words): it is stopped or hangs, so it is killed and replaced"
      )
    case .dismissed(let pid?):
      log.write(
        .error,
        "the guardian of an earlier life (process \(pid)) was stopped or hung, and did not let go: it was killed")
    case .dismissed(nil):
      log.write(
        .error,
        "something that is no guardian to be seen from here keeps the guardian's file locked; another file is in its place now"
      )
    case .died(let pid, let pause):
      log.write(.warning, "the guardian (process \(pid)) died; another one is started in \(pause.words)")
    case .notStarted(let error, let pause):
      log.write(
        .error,
        "no guardian can be started, so a crash of this process is not covered: \(error); again in \(pause.words)")
    case .released(let release): log.write(.error, "while the loop stood still, the guardian \(release)")
    case .demoted(let burnt):
      log.write(
        .error,
        "the loop used \(burnt.words) of processor time without a pause, so it runs without real-time priority from now on"
      )
    case .trouble(let text): log.write(.warning, "guardian: \(text)")
    }
  }
}
