import Glibc
import Wire

/// What a life of this program may have put on this host, as a text that outlives it.
///
/// It names what *may* be there, not what is: so it is written before the first address is added and when the configuration changes,
/// and a failover never waits for a disk.
/// ```
///   roost journal 1
///   boot 5f3c…                         another boot began with nothing on its interfaces
///   namespace 4026531840               inode of the network namespace
///   address 10.9.0.100 eth0 2          the interface by name and index: it may be renamed, or made anew
///   device roost.51
///   table roost_accept
///   setting net/ipv4/conf/eth0/arp_ignore 0 1     was, became
///   end 1c291ca3
/// ```
struct AddressJournal: Sendable, Hashable {
  struct Place: Sendable, Hashable {
    var address: IPAddress
    var interface: String
    /// 0 where there was no such interface.
    var index: Int32
  }

  struct Setting: Sendable, Hashable {
    /// Below /proc/sys.
    var path: String
    var before: String
    var after: String
  }

  var boot: String
  var namespace: UInt64
  var places: [Place] = []
  var devices: [String] = []
  var tables: [String] = []
  var settings: [Setting] = []

  /// Of this boot and the calling thread's network namespace, with nothing in it yet.
  static func ofThisHost() -> AddressJournal {
    var status = stat()
    let namespace = stat("/proc/thread-self/ns/net", &status) == 0 ? UInt64(status.st_ino) : 0
    return AddressJournal(boot: Sysctl.read("kernel/random/boot_id") ?? "", namespace: namespace)
  }

  var isEmpty: Bool { places.isEmpty && devices.isEmpty && tables.isEmpty && settings.isEmpty }

  /// With what the other names, too.
  func merged(with other: AddressJournal) -> AddressJournal {
    var all = self
    for place in other.places where !all.places.contains(place) { all.places.append(place) }
    for device in other.devices where !all.devices.contains(device) { all.devices.append(device) }
    for table in other.tables where !all.tables.contains(table) { all.tables.append(table) }
    for setting in other.settings where !all.settings.contains(where: { $0.path == setting.path }) {
      all.settings.append(setting)
    }
    return all
  }
}

// MARK: As text

extension AddressJournal {
  private static let title = "roost journal 1"

  var text: String {
    var lines = [Self.title, "boot \(boot)", "namespace \(namespace)"]
    lines += places.map { "address \($0.address) \($0.interface) \($0.index)" }
    lines += devices.map { "device \($0)" }
    lines += tables.map { "table \($0)" }
    lines += settings.map { "setting \($0.path) \($0.before) \($0.after)" }
    let body = lines.joined(separator: "\n") + "\n"
    return body + "end \(String(Self.checksum(body), radix: 16))\n"
  }

  /// Nil where it is not whole, or not a journal.
  init?(text: String) {
    guard let last = text.range(ofLine: "end "), text[last.end...].allSatisfy({ $0 == "\n" }),
      UInt32(text[last.value], radix: 16) == Self.checksum(text[..<last.start])
    else { return nil }
    var lines = text[..<last.start].split(separator: "\n").makeIterator()
    guard lines.next().map(String.init) == Self.title else { return nil }
    self.init(boot: "", namespace: 0)
    while let line = lines.next() {
      guard take(line.split(separator: " ").map(String.init)) else { return nil }
    }
  }

  private mutating func take(_ words: [String]) -> Bool {
    switch (words.first, words.count) {
    case ("boot", 2): boot = words[1]
    case ("boot", 1): boot = ""
    case ("namespace", 2):
      guard let inode = UInt64(words[1]) else { return false }
      namespace = inode
    case ("address", 4):
      guard let address = IPAddress(words[1]), let index = Int32(words[3]) else { return false }
      places.append(Place(address: address, interface: words[2], index: index))
    case ("device", 2): devices.append(words[1])
    case ("table", 2): tables.append(words[1])
    case ("setting", 4):
      // Nothing but an interface's settings, whatever the file says.
      guard words[1].hasPrefix("net/ipv4/conf/"), !words[1].contains("..") else { return false }
      settings.append(Setting(path: words[1], before: words[2], after: words[3]))
    default: return false
    }
    return true
  }

  /// FNV-1a: against a torn write, not against a forger; whoever can write the file can do anything.
  private static func checksum(_ text: some StringProtocol) -> UInt32 {
    text.utf8.reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
  }
}

extension String {
  /// The last line that begins with the words: where it starts, what follows them, and where the line ends.
  fileprivate func range(ofLine words: String) -> (start: Index, value: Range<Index>, end: Index)? {
    guard let newline = lastIndex(of: "\n") else { return nil }
    let start = self[..<newline].lastIndex(of: "\n").map { index(after: $0) } ?? startIndex
    guard self[start...].hasPrefix(words) else { return nil }
    let value = index(start, offsetBy: words.count)
    return (start, value..<newline, newline)
  }
}
