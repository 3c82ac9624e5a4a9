import Basis
import Configuration
import Crypto
import Linux
import Node
import VRRP
import Wire

/// The VRRP sockets of the loop: one an interface and family, opened when the interface is there and anew when it is another one.
final class Elections {
  private struct Key: Hashable {
    let interface: String
    let family: AddressFamily
  }

  private struct Open {
    let socket: VRRPSocket
    let registration: Reactor.Registration
    let onReadable: (VRRPSocket) -> Void
  }

  /// Which VIP's virtual router a message is for: by its VRID, on one socket.
  private struct Table {
    let socket: ObjectIdentifier
    /// For each VRID; -1 where it is none of ours.
    var vips: [Int]
    /// So many virtual routers that their adverts come in bursts.
    var isCrowded: Bool
  }

  /// From so many virtual routers on one socket, an advert is seldom alone.
  private static let crowd = 16

  /// For each VIP with an election: its socket's key.
  private var keys: [Key?] = []
  private var routers: [VRRP.Settings?] = []
  /// For each VIP: the source of its frames, where that is a virtual one.
  private var virtualMACs: [MACAddress?] = []
  private var wanted: Set<Key> = []
  private var open: [Key: Open] = [:]
  /// For each VIP: its socket while there is one, so that sending needs no look-up.
  private var sockets: [VRRPSocket?]
  /// For each VIP: where its adverts come from.
  private var sources: [IPAddress?]
  /// Adverts that the kernel would not send, for each VIP.
  private(set) var failures: [UInt64]
  private var failuresInARow: [Int]
  private var tables: [Table] = []
  private var gates: AdvertGates
  /// What is signed is put together here, again and again.
  private var signed: [UInt8] = []

  /// Told of each socket when it is opened, and before it is closed.
  var onOpen: (VRRPSocket) -> Void = { _ in }
  var onClose: (VRRPSocket) -> Void = { _ in }

  /// Longer than any advert: 8 + 255 × 16 bytes, and an IPv4 header with all its options.
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 16)

  init(_ plan: DaemonPlan) {
    gates = AdvertGates(keys: plan.secrets.derivedIDs, peers: plan.node.peers, at: Clock.now())
    (sockets, sources, failures, failuresInARow) = ([], [], [], [])
    signed.reserveCapacity(buffer.count)
    for vip in plan.node.vips.indices { configure(vip, plan.node.vips[vip], plan) }
  }

  deinit { buffer.deallocate() }

  /// What a place has from now on. Sockets for it are there after the next `follow` of its interface at the latest.
  func configure(_ vip: Int, _ settings: VIPSettings, _ plan: DaemonPlan) {
    while keys.count <= vip {
      keys.append(nil)
      routers.append(nil)
      virtualMACs.append(nil)
      sockets.append(nil)
      sources.append(nil)
      failures.append(0)
      failuresInARow.append(0)
    }
    routers[vip] = nil
    if case .vrrp(let router) = settings.election { routers[vip] = router }
    let key = routers[vip].map { Key(interface: settings.interface, family: $0.family) }
    if key != keys[vip] { sources[vip] = nil }
    keys[vip] = key
    wanted = Set(keys.compactMap { $0 })
    sockets[vip] = key.flatMap { open[$0]?.socket }
    virtualMACs[vip] = routers[vip].flatMap { router in
      plan.addresses(ofVIP: vip, settings).virtualMAC?.address(router.family)
    }
    failuresInARow[vip] = 0
    gates.configure(vip, routers[vip], plan.secrets)
    makeTables()
  }

  /// The cluster has these keys and these other nodes now.
  func configure(_ plan: DaemonPlan) {
    gates.configure(keys: plan.secrets.derivedIDs, peers: plan.node.peers, at: Clock.now())
  }

  /// Opens, or opens again, what an interface needs now. Gives the error where the kernel refuses.
  func follow(
    _ interface: InterfaceState, _ state: LinkState, _ reactor: Reactor, onReadable: @escaping (VRRPSocket) -> Void
  ) -> SystemError? {
    var refusal: SystemError?
    for family in [AddressFamily.ipv4, .ipv6] {
      let key = Key(interface: interface.name, family: family)
      guard wanted.contains(key) else { continue }
      if let old = open[key], old.socket.index != interface.index {
        close(key, old, reactor)
      }
      if open[key] == nil, interface.exists {
        refusal = open(key, index: interface.index, reactor, onReadable) ?? refusal
      }
      for vip in keys.indices where keys[vip] == key {
        sockets[vip] = open[key]?.socket
        sources[vip] = routers[vip].flatMap { state.source(of: $0) }
        failuresInARow[vip] = 0
      }
    }
    makeTables()
    return refusal
  }

  private func open(
    _ key: Key, index: Int32, _ reactor: Reactor, _ onReadable: @escaping (VRRPSocket) -> Void
  ) -> SystemError? {
    do throws(SystemError) {
      let socket = try VRRPSocket(interface: key.interface, index: index, family: key.family)
      let registration = try reactor.register(socket.descriptor, .readable) { _ in onReadable(socket) }
      open[key] = Open(socket: socket, registration: registration, onReadable: onReadable)
      onOpen(socket)
      return nil
    } catch {
      return error
    }
  }

  private func close(_ key: Key, _ old: Open, _ reactor: Reactor) {
    reactor.unregister(old.registration)
    onClose(old.socket)
    open[key] = nil
  }

  /// Every socket anew, for the old ones lead nowhere. What waits in them is of a time that is over.
  /// - Returns: where the kernel refuses.
  func reopen(_ reactor: Reactor) -> [(interface: String, SystemError)] {
    var refusals: [(interface: String, SystemError)] = []
    for key in wanted {
      guard let old = open[key] else { continue }
      close(key, old, reactor)
      if let refusal = open(key, index: old.socket.index, reactor, old.onReadable) {
        refusals.append((key.interface, refusal))
      }
      for vip in keys.indices where keys[vip] == key {
        sockets[vip] = open[key]?.socket
        failuresInARow[vip] = 0
      }
    }
    makeTables()
    return refusals
  }

  private func makeTables() {
    tables = open.map { key, open in
      var vips = [Int](repeating: -1, count: 256)
      for vip in keys.indices where keys[vip] == key {
        if let id = routers[vip]?.id { vips[Int(id)] = vip }
      }
      return Table(socket: ObjectIdentifier(open.socket), vips: vips, isCrowded: vips.count { $0 >= 0 } >= Self.crowd)
    }
  }

  /// Hands the messages that wait to `body`, a portion of them at most, in the order in which they came, without their signatures;
  /// what is not authentic is dropped and counted, and now and then told.
  ///
  /// A portion, for whoever floods protocol 112 must not keep the loop from its beats, its deadlines and its answers. There is no kernel
  /// filter before it: what a flood has to look like to pass one (this VRID, a TTL of 255, any trailer) is for a stranger to choose, and
  /// adverts of other virtual routers, which it would drop, are proof that the link works.
  /// - Returns: whether more are likely to follow soon, so that it pays to wait for them.
  func drain(
    _ socket: VRRPSocket, refused: (AdvertGates.Refusal) -> Void, _ body: (UnsafeRawBufferPointer, Envelope) -> Void
  ) throws(SystemError) -> Bool {
    let table = tables.firstIndex { $0.socket == ObjectIdentifier(socket) }
    var most = VRRPSocket.portion
    while let received = try socket.receive(into: buffer, most: &most) {
      let envelope = Envelope(
        interface: socket.interface, source: received.source, destination: received.destination,
        hopLimit: received.hopLimit)
      var message = UnsafeMutableRawBufferPointer(rebasing: buffer[received.payload])
      if let table, message.count >= 2 {
        let vip = tables[table].vips[Int(message[1])]
        if vip >= 0 {
          guard let admitted = gates.admit(message, to: vip, in: envelope, at: Clock.now(), refused: refused) else {
            continue
          }
          message = admitted
        }
      }
      body(UnsafeRawBufferPointer(message), envelope)
    }
    // With some left there is nothing to wait for.
    return most > 0 && table.map { tables[$0].isCrowded } ?? false
  }

  /// After so many refusals without a success between them, an owner is one that nobody hears.
  static let mostFailures = 3

  /// Sends an advert. Gives the error when the kernel has refused `mostFailures` times in a row.
  func send(_ message: [UInt8], to destination: Destination, vip: Int) -> SystemError? {
    guard let socket = sockets[vip], let source = sources[vip] else { return nil }
    let address =
      switch destination {
      case .multicast: VRRPSocket.group(socket.family)
      case .unicast(let peer): peer
      }
    do throws(SystemError) {
      if gates.sign(message, of: vip, from: source, to: address, into: &signed) {
        try socket.send(signed, to: address, from: source, virtualMAC: virtualMACs[vip])
      } else {
        try socket.send(message, to: address, from: source, virtualMAC: virtualMACs[vip])
      }
      failuresInARow[vip] = 0
      return nil
    } catch {
      failures[vip] &+= 1
      failuresInARow[vip] += 1
      return failuresInARow[vip] == Self.mostFailures ? error : nil
    }
  }
}

extension Elections {
  /// Whether the VIP's adverts, and its addresses, have the virtual router's MAC.
  func hasVirtualMAC(_ vip: Int) -> Bool { virtualMACs.indices.contains(vip) && virtualMACs[vip] != nil }

  /// For each VIP: what its gate has counted; nil where there is none.
  var authentication: [AuthenticationCounters?] { keys.indices.map { gates.counters(of: $0) } }

  /// The sequence of the last signed advert of a VIP, for the guardian to sign after it.
  func lastSequence(of vip: Int) -> UInt64? { gates.lastSequence(of: vip) }

  /// Another process has signed up to there.
  func advance(_ vip: Int, past sequence: UInt64) { gates.advance(vip, past: sequence) }

  /// The key that signs a VIP's adverts now, for the guardian.
  func signingKey(of vip: Int) -> AdvertKey? { gates.signingKey(of: vip) }

  /// Grows when another key signs than before.
  var keyChanges: UInt64 { gates.keyChanges }

  /// A peer has said with which keys it verifies adverts.
  func learn(keys: [UInt8], of peer: Int) { gates.learn(keys, of: peer, at: Clock.now()) }

  /// Call it now and then: which key signs depends on how long peers have been silent.
  func chooseKeys(at now: Instant) { gates.chooseKeys(at: now) }
}

extension LinkState {
  /// What an interface's state means to the elections of a node.
  init(_ interface: InterfaceState, node: Configuration.Member?) {
    func own(_ family: AddressFamily) -> IPAddress? {
      guard let address = node?.address(family) else { return nil }
      return interface.addresses.contains { $0.address == address && !$0.isTentative } ? address : nil
    }
    self.init(isUp: interface.isUp, ipv4: interface.ipv4?.address, linkLocal: interface.linkLocal)
    hasReceived = interface.hasReceived
    if case .v4(let address)? = own(.ipv4) { unicastIPv4 = address }
    if case .v6(let address)? = own(.ipv6) { unicastIPv6 = address }
  }
}
