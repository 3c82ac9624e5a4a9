import Node

/// Where the parts of a configuration stand while a daemon lives: each keeps its place by its name when the configuration changes.
///
/// What is removed leaves an empty place. Something new takes a place that was empty already, or one at the end: never one that is
/// being emptied by the same change, because what stood there may still be on its way out.
public struct Places: Sendable, Hashable {
  /// For each place, the index into the configuration's list of what stands there; nil where it is empty.
  public var indices: [Int?]
  /// For each of the configuration's list, its place.
  public private(set) var places: [Int]

  /// - Parameters:
  ///   - names: unique, and none empty.
  ///   - old: the names by their places as it was; an empty one is an empty place.
  public init(_ names: [String], after old: [String] = []) {
    var indices = [Int?](repeating: nil, count: old.count)
    var places = [Int?](repeating: nil, count: names.count)
    let former = Dictionary(old.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    for (index, name) in names.enumerated() where !name.isEmpty {
      guard let place = former[name] else { continue }
      indices[place] = index
      places[index] = place
    }
    var empty = old.indices.filter { old[$0].isEmpty }[...]
    for index in names.indices where places[index] == nil {
      if let place = empty.popFirst() {
        indices[place] = index
        places[index] = place
      } else {
        places[index] = indices.count
        indices.append(index)
      }
    }
    self.indices = indices
    self.places = places.compactMap { $0 }
  }

  /// The list by its places.
  public func arrange<Element>(_ list: [Element], vacant: Element) -> [Element] {
    indices.map { index in index.map { list[$0] } ?? vacant }
  }
}

extension NodeSettings {
  /// Where everything stands.
  public struct Arrangement: Sendable, Hashable {
    public var vips: Places
    public var services: Places
    public var trackers: Places
    public var peers: Places

    public init(vips: Places, services: Places, trackers: Places, peers: Places) {
      self.vips = vips
      self.services = services
      self.trackers = trackers
      self.peers = peers
    }
  }

  /// Where the parts of these settings, which are in the order of a configuration, stand after old ones; nil: at the start.
  public func arrangement(after old: NodeSettings?) -> Arrangement {
    Arrangement(
      vips: Places(vips.map(\.name), after: old?.vips.map(\.name) ?? []),
      services: Places(services.map(\.name), after: old?.services.map(\.name) ?? []),
      trackers: Places(trackers.map(\.name), after: old?.trackers.map(\.name) ?? []),
      peers: Places(peers, after: old?.peers ?? []))
  }

  /// The same settings, with each part in its place, and all that names a part by number adapted.
  public func arranged(_ arrangement: Arrangement) -> NodeSettings {
    var moved = self
    moved.trackers = arrangement.trackers.arrange(
      trackers.map { tracker in
        var tracker = tracker
        switch tracker.source {
        case .external: break
        case .vip(let vip): tracker.source = .vip(arrangement.vips.places[vip])
        case .service(let service, let count):
          tracker.source = .service(arrangement.services.places[service], atLeast: count)
        }
        return tracker
      }, vacant: TrackerSettings(name: "", source: .external))
    moved.services = arrangement.services.arrange(
      services.map { service in
        var service = service
        service.vip = arrangement.vips.places[service.vip]
        return service
      }, vacant: .vacant)
    moved.vips = arrangement.vips.arrange(
      vips.map { vip in
        var vip = vip
        vip.tracks = vip.tracks.map { track in
          VIPSettings.Track(tracker: arrangement.trackers.places[track.tracker], consequence: track.consequence)
        }
        return vip
      }, vacant: .vacant)
    moved.groups = groups.map { group in group.map { arrangement.vips.places[$0] } }
    moved.peers = arrangement.peers.arrange(peers, vacant: "")
    return moved
  }
}
