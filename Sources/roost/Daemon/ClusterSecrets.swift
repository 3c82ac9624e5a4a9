import Configuration
import Crypto
import VRRP

/// The secrets that the configuration names, read, and what is made of them.
struct ClusterSecrets: Sendable {
  /// The cluster's, newest first; empty where it has none.
  private(set) var secrets: [SecretBytes] = []
  /// For each VIP: the keys of its adverts, the one that signs first. Empty where adverts are not authenticated.
  private(set) var advertKeys: [[AdvertKey]] = []
  /// For each VIP: the same, ready for use.
  private(set) var authentication: [AuthenticationSettings] = []
  /// For each VIP: whether its keys are derived from the cluster's secrets, so that the peers' hellos tell who has which.
  private(set) var isDerived: [Bool] = []
  /// The numbers of the keys that are derived from the cluster's secrets, newest first.
  private(set) var derivedIDs: [UInt8] = []

  init(reading configuration: Configuration) throws(Daemon.Failure) {
    for path in configuration.cluster.secrets { secrets.append(try Self.bytes(path, Secret.read(path))) }
    var derived: [AdvertKey] = []
    for secret in secrets {
      derived.append(try Self.sure { () throws(CryptoError) in try ClusterKeys.advertKey(from: secret) })
    }
    derivedIDs = derived.map(\.id)
    for vip in configuration.vips {
      guard case .vrrp(let router) = vip.election, router.authentication.mode != .off else {
        advertKeys.append([])
        authentication.append(.off)
        isDerived.append(false)
        continue
      }
      var keys = router.authentication.keys.isEmpty ? derived : []
      isDerived.append(router.authentication.keys.isEmpty)
      for key in router.authentication.keys {
        keys.append(AdvertKey(id: key.id, bytes: try Self.bytes(key.file, Secret.readKey(key.file))))
      }
      guard !keys.isEmpty else {
        throw .cannot(
          "vip \(vip.name): there is no key to authenticate adverts with; set cluster.secret or vrrp.auth.keys")
      }
      advertKeys.append(keys)
      authentication.append(try Self.settings(router, keys))
    }
  }

  /// By how much the clocks of two nodes may differ before one refuses the other's signed adverts; nil where none are judged by the time.
  var clockWindow: Duration? {
    authentication.compactMap { settings in
      guard settings.mode != .off, case .window(let window) = settings.freshness else { return nil }
      return window
    }.min()
  }

  /// The same, each VIP's in its place.
  func arranged(_ places: Places) -> ClusterSecrets {
    var moved = self
    moved.advertKeys = places.arrange(advertKeys, vacant: [])
    moved.authentication = places.indices.map { index in index.map { authentication[$0] } ?? .off }
    moved.isDerived = places.arrange(isDerived, vacant: false)
    return moved
  }

  private static func settings(
    _ router: Configuration.Router, _ keys: [AdvertKey]
  ) throws(Daemon.Failure) -> AuthenticationSettings {
    var prepared: [AuthenticationKey] = []
    for key in keys { prepared.append(try sure { () throws(CryptoError) in try key.prepared() }) }
    return AuthenticationSettings(
      mode: AuthenticationMode(router.authentication.mode), keys: prepared,
      freshness: .standard(interval: router.interval))
  }

  private static func bytes(
    _ path: String, _ result: Result<[UInt8], Secret.Failure>
  ) throws(Daemon.Failure) -> SecretBytes {
    switch result {
    case .success(var bytes): return SecretBytes(wiping: &bytes)
    case .failure(let failure):
      throw .cannot([failure.message(path), failure.suggestion(path)].compactMap(\.self).joined(separator: "; "))
    }
  }

  private static func sure<Value>(_ body: () throws(CryptoError) -> Value) throws(Daemon.Failure) -> Value {
    do throws(CryptoError) {
      return try body()
    } catch {
      throw .cannot("keys can't be made: \(error)")
    }
  }
}

extension AuthenticationMode {
  init(_ mode: Configuration.Authentication.Mode) {
    switch mode {
    case .off: self = .off
    case .receive: self = .receive
    case .permissive: self = .permissive
    case .enforce: self = .enforce
    }
  }
}
