import FoundationEssentials
import Glibc

/// What a lab has put on this machine, written before any of it exists: whoever finds it can remove it all.
public struct Manifest: Sendable, Hashable, Codable {
  public enum Kind: String, Sendable, Hashable, Codable {
    /// Stays until `lab down`.
    case kept
    /// Ends with the process that made it.
    case run
  }
  public struct Host: Sendable, Hashable, Codable {
    public var name: String
    public var role: Topology.Role
    public var namespace: Namespace
    public var addresses: [String]
  }

  public var version = 1
  public var id: String
  public var kind: Kind
  /// Seconds since 1970.
  public var created: Double
  /// The process that builds, or runs, the lab.
  public var maker: ProcessIdentity
  public var isComplete = false
  public var configuration: String?
  public var switchNamespace: Namespace
  public var hosts: [Host]
  public var vips: [String]

  public var namespaces: [Namespace] { [switchNamespace] + hosts.map(\.namespace) }

  /// Nobody is left who would remove it.
  public var isStale: Bool { (kind == .run || !isComplete) && !maker.isAlive }
}

/// The folder of one lab, `<root>/<id>`.
public struct LabFolder: Sendable, Hashable {
  public let root: String
  public let id: String

  public var path: String { "\(root)/\(id)" }
  var manifestPath: String { "\(path)/manifest.json" }
  func hostFolder(_ host: String) -> String { "\(path)/\(host)" }
  /// Where a node's daemon keeps its state.
  func stateFolder(_ node: String) -> String { "\(hostFolder(node))/state" }

  /// `$XDG_RUNTIME_DIR/roost-lab`, else /run/roost-lab.
  public static var defaultRoot: String {
    if let folder = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") {
      return "\(folder)/roost-lab"
    }
    return "/run/roost-lab"
  }

  /// Makes a folder that no other lab has; the folder's name is the lab's.
  static func make(in root: String) throws(LabError) -> LabFolder {
    do {
      try FileManager.default.createDirectory(
        atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    } catch {
      throw LabError(.host, "the lab's folder \(root) can't be made: \(error); choose another with --state")
    }
    for _ in 0..<100 {
      let folder = LabFolder(root: root, id: randomName())
      if mkdir(folder.path, 0o700) == 0 { return folder }
      guard errno == EEXIST else { throw .system("making \(folder.path)", errno) }
    }
    throw LabError(.failed, "no free name for a lab in \(root)")
  }

  private static func randomName() -> String {
    let letters = Array("bcdfghjkmnpqrstvwxz23456789")
    return String((0..<4).map { _ in letters[Int.random(in: letters.indices)] })
  }

  func write(_ manifest: Manifest) throws(LabError) {
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(manifest).write(to: URL(filePath: manifestPath), options: .atomic)
    } catch {
      throw LabError(.failed, "\(manifestPath) can't be written: \(error)")
    }
  }

  func read() -> Manifest? {
    guard let data = try? Data(contentsOf: URL(filePath: manifestPath)) else { return nil }
    return try? JSONDecoder().decode(Manifest.self, from: data)
  }

  func remove() {
    try? FileManager.default.removeItem(atPath: path)
    rmdir(root)  // only if it was the last
  }

  /// Every lab below the root, by name.
  public static func all(in root: String) -> [LabFolder] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
    return names.sorted().map { LabFolder(root: root, id: $0) }
  }
}
