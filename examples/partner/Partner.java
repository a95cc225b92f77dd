// Java HttpClient with a PKCS#12 file: a token, a call, and what a call without the certificate is told.
import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.regex.Pattern;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Partner {
    public static void main(String[] arguments) throws Exception {
        var env = System.getenv();
        var answer = client(true).send(
                HttpRequest.newBuilder(URI.create(env.get("ISSUER") + "/oauth2/token"))
                        .header("Content-Type", "application/x-www-form-urlencoded")
                        .POST(HttpRequest.BodyPublishers.ofString(
                                "grant_type=client_credentials&client_id=" + env.get("CLIENT_ID")))
                        .build(),
                BodyHandlers.ofString());
        var token = Pattern.compile("\"access_token\":\"([^\"]+)\"").matcher(answer.body());
        if (!token.find()) throw new IllegalStateException(answer.statusCode() + " " + answer.body());
        var call = HttpRequest.newBuilder(URI.create(env.get("API_URL")))
                .header("Authorization", "Bearer " + token.group(1)).build();
        System.out.println(client(true).send(call, BodyHandlers.ofString()).statusCode());
        // Without the certificate the token opens nothing, and the answer says why.
        System.out.println(client(false).send(call, BodyHandlers.ofString()).body());
    }

    static HttpClient client(boolean proving) throws Exception {
        var env = System.getenv();
        var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (var file = new FileInputStream(env.get("CA_FILE"))) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        var password = env.get("PKCS12_PASSWORD").toCharArray();
        var own = KeyStore.getInstance("PKCS12");
        try (var file = new FileInputStream(env.get("PKCS12_FILE"))) {
            own.load(file, password);
        }
        keys.init(own, password);
        var context = SSLContext.getInstance("TLS");
        context.init(proving ? keys.getKeyManagers() : null, trust.getTrustManagers(), null);
        return HttpClient.newBuilder().sslContext(context).build();
    }
}
