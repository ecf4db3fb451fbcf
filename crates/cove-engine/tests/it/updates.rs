//! Changes of an instance that come at once.

use cove_model::instance::Limits;

use crate::support::Fixture;

pub(crate) fn of_two_at_once_none_is_lost() {
    let it = Fixture::new();
    let record = it.create("sleep 1000");
    it.engine.instances().start(&record, None).unwrap();
    let shares = Limits {
        cpu_shares: Some(512),
        ..Limits::default()
    };
    let pids = Limits {
        pids: Some(77),
        ..Limits::default()
    };
    for _ in 0..10 {
        let stale = record.clone();
        std::thread::scope(|scope| {
            for asked in [&shares, &pids] {
                let (it, stale) = (&it, &stale);
                scope.spawn(move || it.engine.instances().update(stale, asked, None).unwrap());
            }
        });
        let limits = it.get(&record.name).record.spec.limits;
        assert_eq!((limits.cpu_shares, limits.pids), (Some(512), Some(77)));
        let none = Limits {
            cpu_shares: Some(1024),
            pids: Some(99),
            ..Limits::default()
        };
        it.engine.instances().update(&record, &none, None).unwrap();
    }
}
