/// What the engine knows of its services beside the workers.
extension ProxyEngine {
  struct State {
    enum Phase { case ready, running, stopped }
    struct Backend {
      var usable: Bool
      var weight: Int
    }

    /// One index of a service.
    struct Place {
      /// The slot of its current edition; nil for an empty place.
      var current: Int?
      var backends: [Backend] = []
      /// Slots of earlier editions whose connections go on.
      var earlier: [Int] = []
      /// What editions that are over have counted.
      var past: ServiceSnapshot?
    }

    var phase = Phase.ready
    var places: [Place]
    /// Editions by slot; nil: free.
    var editions: [Edition?]

    init(_ editions: [Edition]) {
      self.editions = editions
      places = editions.indices.map { Place(current: $0, backends: State.backends(editions[$0].service)) }
    }

    static func backends(_ service: ProxyService) -> [Backend] {
      service.backends.map { Backend(usable: $0.usable, weight: $0.weight) }
    }

    func service(_ place: Int) -> ProxyService? {
      guard places.indices.contains(place), let slot = places[place].current else { return nil }
      return editions[slot]?.service
    }

    /// The slots of all editions of those services.
    func slots(of services: [Int]) -> [Int] {
      services.filter(places.indices.contains).flatMap { places[$0].earlier + (places[$0].current.map { [$0] } ?? []) }
    }

    /// A slot that no edition uses, taken.
    mutating func take(_ edition: Edition) -> Int {
      if let free = editions.firstIndex(where: { $0 == nil }) {
        editions[free] = edition
        return free
      }
      editions.append(edition)
      return editions.count - 1
    }

    /// Frees the slots of editions that are over, and keeps what they have counted.
    mutating func sweep() {
      for place in places.indices where !places[place].earlier.isEmpty {
        for slot in places[place].earlier {
          guard let edition = editions[slot], edition.isOver else { continue }
          if places[place].past != nil || places[place].current != nil {
            var sum = places[place].past ?? ServiceSnapshot(name: edition.service.name, backends: [])
            for backend in edition.service.backends where !sum.backends.contains(where: { $0.name == backend.name }) {
              sum.backends.append(ServiceSnapshot.Backend(name: backend.name, usable: false, weight: 0))
            }
            edition.add(to: &sum)
            places[place].past = sum
          }
          editions[slot] = nil
        }
        places[place].earlier.removeAll { editions[$0] == nil }
      }
    }

    func snapshot(of place: Place) -> ServiceSnapshot {
      guard let slot = place.current, let edition = editions[slot] else {
        return ServiceSnapshot(name: "", backends: [])
      }
      var sum = ServiceSnapshot(
        name: edition.service.name,
        backends: zip(edition.service.backends, place.backends).map {
          ServiceSnapshot.Backend(name: $0.name, usable: $1.usable, weight: $1.weight)
        })
      if let past = place.past { sum.add(past) }
      for earlier in place.earlier { editions[earlier]?.add(to: &sum) }
      edition.add(to: &sum)
      return sum
    }
  }
}
