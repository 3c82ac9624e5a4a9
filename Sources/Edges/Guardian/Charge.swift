import Basis
import Linux
import Wire

/// What the guardian has to know of one VIP to give it up without the daemon.
public struct Charge: Sendable, Hashable {
  /// Of the adverts; nil where no election is held: nobody would take over, so a stall is no reason to give it up, death is.
  public var interval: Duration?
  /// It has services, so a proxy that stands still is a reason to give it up.
  public var hasServices: Bool
  public var addresses: [IPAddress]
  /// The index of the VIP's interface.
  public var interface: Int32
  /// What the addresses are on.
  public var devices: Devices
  /// What is said when the VIP is given up: each once, in this order.
  public var farewells: [Farewell]
  /// What farewells are signed with; nil: not at all.
  public var key: Key?

  /// By family, the index of what addresses are put on: the VIP's interface, or the device of a virtual MAC; 0 while that was not made.
  public struct Devices: Sendable, Hashable {
    public var ipv4: Int32
    public var ipv6: Int32

    public init(ipv4: Int32, ipv6: Int32) {
      self.ipv4 = ipv4
      self.ipv6 = ipv6
    }

    public subscript(family: AddressFamily) -> Int32 {
      get { family == .ipv4 ? ipv4 : ipv6 }
      set { if family == .ipv4 { ipv4 = newValue } else { ipv6 = newValue } }
    }
  }

  /// A VRRP message of priority 0, checksum filled in, without the trailer of a signature.
  public struct Farewell: Sendable, Hashable {
    /// The index of the interface that it leaves by: another than the addresses' where there is a virtual MAC.
    public var interface: Int32
    public var source: IPAddress
    public var destination: IPAddress
    public var message: [UInt8]

    public init(interface: Int32, source: IPAddress, destination: IPAddress, message: [UInt8]) {
      self.interface = interface
      self.source = source
      self.destination = destination
      self.message = message
    }
  }

  public struct Key: Sendable, Hashable, CustomStringConvertible {
    public var id: UInt8
    public var bytes: [UInt8]

    public init(id: UInt8, bytes: [UInt8]) {
      self.id = id
      self.bytes = bytes
    }

    /// Never the bytes.
    public var description: String { "key \(id)" }
  }

  /// - Parameter devices: nil where the addresses are on the interface itself.
  public init(
    interval: Duration?, hasServices: Bool, addresses: [IPAddress], interface: Int32, devices: Devices? = nil,
    farewells: [Farewell], key: Key? = nil
  ) {
    self.interval = interval
    self.hasServices = hasServices
    self.addresses = addresses
    self.interface = interface
    self.devices = devices ?? Devices(ipv4: interface, ipv6: interface)
    self.farewells = farewells
    self.key = key
  }

  /// Where the addresses are.
  var targets: [AddressEraser.Target] {
    addresses.compactMap { address in
      let device = devices[address.family]
      return device == 0 ? nil : AddressEraser.Target(address, on: device, isVirtual: device != interface)
    }
  }

  /// How long the loop may be silent while it owns this VIP: less than peers wait (3 intervals and a skew), so that the address is
  /// gone when they take over, and more than a healthy loop ever is.
  public var patience: Duration? { interval.map { max($0 * 5 / 2, Self.shortestPatience) } }
  static let shortestPatience = Duration.milliseconds(50)
}

/// Signs a farewell at the moment it is sent: a signature carries the time, and one made ahead would be stale. Gives the message
/// with its trailer. `last` is the sequence of the daemon's last advert (`OwnershipRecord.lastSigned`), which this one has to follow.
public typealias GuardianSigner = @Sendable (_ farewell: Charge.Farewell, _ key: Charge.Key, _ last: UInt64) -> [UInt8]
