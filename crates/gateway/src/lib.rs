//! Listeners, TLS, the request pipeline and forwarding.
